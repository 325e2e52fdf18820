/* Times single matrix products and convolutions in Spry on request, by what the runtime chooses, or
 * on the channels-last engine by a way of its planner's (`auto`: what it chooses itself).
 *
 *     spry_kernels [--dtype f32|bf16|u8s8] [--layout any|nhwc|nchw] [--threads N] [--way NAME]
 *
 * Weights are packed, images lie as the layout says (`any`: channels-last where a provider takes
 * that). Results have the type of the inputs, except that a product of u8s8 gives s32 and bf16 is
 * computed from and to floats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "kernels/isa.h"
#include "layer.h"
#include "serve.h"

enum { THREADS_MAX = 1024, EXIT_USAGE = 2 };

typedef struct kernels {
    layer_type type;
    layer_layout layout;
    long thread_count;
    threads *team;
    layer current;
    bool is_on_engine;
    conv_nhwc_way way;
    engine forced;
} kernels;

static bool set_forced(kernels *self, const shape *wanted, char *reason)
{
    static const brgemm_type types[LAYER_TYPES] = {
        [LAYER_F32] = BRGEMM_F32, [LAYER_BF16] = BRGEMM_BF16, [LAYER_U8S8] = BRGEMM_S8};

    if (!engine_make(&self->forced, wanted, types[self->type], self->way, self->team, reason,
                     SERVE_REASON_SIZE)) {
        return false;
    }
    (void)snprintf(reason, SERVE_REASON_SIZE, "%s %s", self->forced.plan.kernel->name,
                   conv_nhwc_way_name(self->forced.plan.way));
    return true;
}

static bool set_shape(void *context, const char *line, char *reason)
{
    kernels *self = context;
    shape wanted;

    layer_clear(&self->current);
    engine_clear(&self->forced);
    if (!shape_parse(line, &wanted)) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "not a shape: %.100s", line);
        return false;
    }
    if (self->is_on_engine) {
        return set_forced(self, &wanted, reason);
    }
    if (!layer_make(&self->current, &wanted, self->type, self->layout, NULL, self->team, reason,
                    SERVE_REASON_SIZE)) {
        return false;
    }
    (void)snprintf(reason, SERVE_REASON_SIZE, "%s %s", self->current.step.kernel,
                   self->current.step.plan != NULL ? self->current.step.plan : "");
    return true;
}

static bool run(void *context, char *reason)
{
    kernels *self = context;

    if (self->forced.memory != NULL) {
        engine_run(&self->forced);
        return true;
    }
    if (self->current.provider == NULL || !layer_run(&self->current)) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "nothing to run, or the run failed");
        return false;
    }
    return true;
}

/* Sets what one option with a value says; false when there is no such option or value. */
static bool set_option(kernels *self, const char *option, const char *text)
{
    if (strcmp(option, "--dtype") == 0) {
        self->type = layer_parse_type(text);
        return self->type != LAYER_TYPES;
    }
    if (strcmp(option, "--layout") == 0) {
        self->layout = layer_parse_layout(text);
        return self->layout != LAYER_LAYOUTS;
    }
    if (strcmp(option, "--way") == 0) {
        self->is_on_engine = true;
        self->way = engine_parse_way(text);
        return self->way != CONV_NHWC_WAYS;
    }
    return strcmp(option, "--threads") == 0 &&
           serve_parse_number(text, 1, THREADS_MAX, &self->thread_count);
}

int main(int argc, char **argv)
{
    kernels self = {.thread_count = 1};

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc || !set_option(&self, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "usage: spry_kernels [--dtype f32|bf16|u8s8] "
                                  "[--layout any|nhwc|nchw] [--threads N] [--way NAME]\n");
            return EXIT_USAGE;
        }
    }
    if (threads_create(NULL, (int)self.thread_count, &self.team, NULL) != SPRY_OK) {
        (void)fprintf(stderr, "spry_kernels: no threads\n");
        return EXIT_FAILURE;
    }
    printf("ready {\"version\": \"spry %s\", \"isa\": \"%s\"}\n", SPRY_VERSION_TEXT,
           isa_name(isa_current()));
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &self, .set_shape = set_shape, .run = run});
    layer_clear(&self.current);
    engine_clear(&self.forced);
    threads_destroy(self.team);
    return EXIT_SUCCESS;
}
