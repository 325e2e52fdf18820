/* Times one step of training in Spry on request: a forward pass and the gradients of a loss by the
 * weights, without the optimizer.
 *
 *     train_step NET [--batch N] [--threads N] [--precision f32|bf16] [--mode MODE] [--explain yes]
 *
 * NET is resnet20, lenet or the path of an ONNX file, MODE inference, forward, step (the default)
 * or biases: see train_net.h. `--explain yes` prints the time of each operator instead. */
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/isa.h"
#include "profile.h"
#include "serve.h"
#include "spry/session.h"
#include "train_net.h"

enum { THREADS_MAX = 1024, BATCH_MAX = 1 << 20, EXIT_USAGE = 2, EXPLAINED_RUNS = 5 };

typedef struct subject {
    train_net net;
    const char *name;
    train_net_mode mode;
    long batch;
    bool explains;
    spry_session_options options;
    spry_session *session;
    const char **names;
    const spry_value **inputs;
    spry_value **outputs;
    spry_error error;
} subject;

static bool set_option(subject *s, const char *option, const char *text)
{
    long number = 0;

    if (strcmp(option, "--batch") == 0) {
        return serve_parse_number(text, 1, BATCH_MAX, &s->batch);
    }
    if (strcmp(option, "--threads") == 0) {
        bool fits = serve_parse_number(text, 1, THREADS_MAX, &number);

        s->options.threads = (int)number;
        return fits;
    }
    if (strcmp(option, "--precision") == 0) {
        s->options.precision = strcmp(text, "bf16") == 0 ? SPRY_PRECISION_BF16 : SPRY_PRECISION_F32;
        return strcmp(text, "bf16") == 0 || strcmp(text, "f32") == 0;
    }
    if (strcmp(option, "--explain") == 0) {
        s->explains = true;
        return true;
    }
    s->mode = train_net_parse_mode(text);
    return strcmp(option, "--mode") == 0 && s->mode != TRAIN_NET_MODES;
}

static bool complain(const spry_error *error)
{
    (void)fprintf(stderr, "train_step: %s: %s: %s\n", spry_status_name(error->code), error->where,
                  error->what);
    return false;
}

static bool open_session(subject *s)
{
    const graph *g;

    s->options.profile = s->explains;
    if (!train_net_build(&s->net, s->name, s->batch, s->mode, &s->error) ||
        spry_session_create(s->net.m, &s->options, &s->session, &s->error) != SPRY_OK) {
        return complain(&s->error);
    }
    g = s->net.g;
    s->names = calloc((size_t)g->input_count + 1, sizeof *s->names);
    s->inputs = calloc((size_t)g->input_count + 1, sizeof *s->inputs);
    s->outputs = calloc((size_t)g->output_count + 1, sizeof *s->outputs);
    if (s->names == NULL || s->inputs == NULL || s->outputs == NULL) {
        return false;
    }
    for (int32_t i = 0; i < g->input_count; i++) {
        s->names[i] = g->values[g->inputs[i]].name;
        s->inputs[i] = &s->net.inputs[i];
    }
    return true;
}

static bool run(void *context, char *reason)
{
    subject *s = context;
    const graph *g = s->net.g;
    spry_status status = spry_session_run(s->session, g->input_count, s->names, s->inputs,
                                          g->output_count, s->outputs, &s->error);

    if (status != SPRY_OK) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "%.90s: %.150s", s->error.where, s->error.what);
        return false;
    }
    for (int32_t i = 0; i < g->output_count; i++) {
        spry_value_destroy(s->outputs[i]);
    }
    return true;
}

static bool explain(subject *s)
{
    const spry_profile_row *rows;
    int32_t count;
    char reason[SERVE_REASON_SIZE];

    for (int i = 0; i < EXPLAINED_RUNS; i++) {
        if (!run(s, reason)) {
            (void)fprintf(stderr, "train_step: %s\n", reason);
            return false;
        }
        if (i == 0) {
            spry_session_profile_reset(s->session);
        }
    }
    count = spry_session_profile(s->session, &rows);
    profile_print(rows, count, EXPLAINED_RUNS - 1);
    return true;
}

int main(int argc, char **argv)
{
    subject s = {.name = argc > 1 ? argv[1] : NULL,
                 .mode = TRAIN_NET_STEP,
                 .batch = 1,
                 .options = spry_session_options_default()};
    bool understood = argc % 2 == 0;
    char reason[SERVE_REASON_SIZE];

    /* Gradients of a step come from the memory of the last one, as where training goes on. */
    (void)mallopt(M_MMAP_THRESHOLD, INT_MAX);
    (void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
    s.options.threads = 1;
    for (int i = 2; understood && i < argc; i += 2) {
        understood = set_option(&s, argv[i], argv[i + 1]);
    }
    if (!understood) {
        (void)fprintf(stderr, "usage: train_step NET [--batch N] [--threads N] "
                              "[--precision f32|bf16] [--mode MODE] [--explain yes]\n");
        return EXIT_USAGE;
    }
    if (!open_session(&s)) {
        return EXIT_FAILURE;
    }
    if (s.explains) {
        return explain(&s) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (!run(&s, reason)) {
        (void)fprintf(stderr, "train_step: %s\n", reason);
        return EXIT_FAILURE;
    }
    printf("ready {\"version\": \"spry %s\", \"isa\": \"%s\"}\n", SPRY_VERSION_TEXT,
           isa_name(isa_current()));
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &s, .run = run});
    spry_session_destroy(s.session);
    train_net_release(&s.net);
    return EXIT_SUCCESS;
}
