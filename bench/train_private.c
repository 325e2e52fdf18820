/* Times the gradient of a private step on request: that of a batch, clipped example by example.
 *
 *     train_private MODE [--batch N] [--part N] [--threads N] [--units N] [--image N] [--patch N]
 *                        [--heads N] [--depth N] [--explain yes]
 *
 * MODE is ghost (runs of parts of the batch, 16 as in training, clipped_gradient.h), loop (a run
 * per example, whose gradient is clipped and added) or plain (runs of parts, not clipped). The
 * network is a fresh vision transformer, vit-cifar of `spry new`, of two blocks unless told.
 * `--explain yes` prints the time of each operator instead. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/isa.h"
#include "profile.h"
#include "serve.h"
#include "spry/architecture.h"
#include "spry/random.h"
#include "train/optimizer.h"
#include "train/program.h"

enum { NUMBER_MAX = 1 << 20, EXIT_USAGE = 2, EXPLAINED_RUNS = 5, CHANNELS = 3, CLASSES = 10 };
enum { GRAIN = 1 << 14 };

static const double limit = 1.0;

typedef enum mode { GHOST, LOOP, PLAIN, MODES } mode;

typedef struct subject {
    mode how;
    long batch, part, threads, image, explains;
    spry_architecture_options shape;
    spry_model *m;
    threads *team;
    program *p;
    float *pixels;
    int64_t *labels;
    float *sum; /* of gradients */
    spry_error error;
} subject;

static bool set_option(subject *s, const char *option, const char *text)
{
    long number = 0;
    bool fits = serve_parse_number(text, 1, NUMBER_MAX, &number);
    const struct {
        const char *name;
        long *plain;
        int64_t *shape;
    } options[] = {
        {"--batch", &s->batch, NULL},       {"--part", &s->part, NULL},
        {"--threads", &s->threads, NULL},   {"--image", &s->image, NULL},
        {"--units", NULL, &s->shape.units}, {"--patch", NULL, &s->shape.patch},
        {"--heads", NULL, &s->shape.heads}, {"--depth", NULL, &s->shape.depth},
    };

    if (strcmp(option, "--explain") == 0) {
        s->explains = 1;
        return true;
    }
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(option, options[i].name) != 0) {
            continue;
        }
        if (options[i].plain != NULL) {
            *options[i].plain = number;
        } else {
            *options[i].shape = number;
        }
        return fits;
    }
    return false;
}

static int64_t pixels_each(const subject *s)
{
    return (int64_t)CHANNELS * s->image * s->image;
}

/* Normal numbers as images, classes in turn. */
static bool make_data(subject *s)
{
    spry_random random = spry_random_stream(2, 0);
    size_t count = (size_t)s->batch * (size_t)pixels_each(s);

    s->pixels = calloc(count, sizeof *s->pixels);
    s->labels = calloc((size_t)s->batch, sizeof *s->labels);
    if (s->pixels == NULL || s->labels == NULL) {
        return false;
    }
    spry_random_fill_normal(&random, s->pixels, count, 0.0f, 1.0f);
    for (long i = 0; i < s->batch; i++) {
        s->labels[i] = i % CLASSES;
    }
    return true;
}

static spry_status run_part(subject *s, int64_t first, int64_t count)
{
    const int64_t shape[] = {count, CHANNELS, s->image, s->image};
    const tensor *inputs[1];
    tensor images;
    tensor targets;
    spry_status status = tensor_init(&images, SPRY_DTYPE_F32, 4, shape,
                                     s->pixels + first * pixels_each(s), &s->error);

    inputs[0] = &images;
    if (status == SPRY_OK) {
        status = tensor_init(&targets, SPRY_DTYPE_I64, 1, shape, s->labels + first, &s->error);
    }
    if (status == SPRY_OK && s->p == NULL) {
        program_options options = {.clip = s->how == GHOST ? limit : 0,
                                   .session = spry_session_options_default()};

        options.session.profile = s->explains != 0;
        status = program_create(s->m, &options, inputs, 1, &targets, s->team, &s->p, &s->error);
    }
    return status == SPRY_OK ? program_run(s->p, inputs, &targets, 1, &s->error) : status;
}

typedef struct addition {
    float *restrict sum;
    const float *restrict addend;
    float factor;
} addition;

static void add_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const addition *a = context;
    float *restrict sum = a->sum;
    const float *restrict addend = a->addend;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        sum[i] += a->factor * addend[i];
    }
}

/* The sum over parts of `count` examples, each clipped where it is a single one. */
static spry_status run_parts(subject *s, int64_t count)
{
    for (int64_t i = 0; i < s->batch; i += count) {
        spry_status status = run_part(s, i, count);
        addition a = {.factor = 1.0f};

        if (status != SPRY_OK) {
            return status;
        }
        if (s->sum == NULL) {
            s->sum = calloc((size_t)s->p->weights.length, sizeof *s->sum);
        }
        if (s->sum == NULL) {
            return SPRY_LIMIT;
        }
        if (i == 0) {
            memset(s->sum, 0, (size_t)s->p->weights.length * sizeof *s->sum);
        }
        if (s->how == LOOP) {
            double norm = optimizer_clip(s->team, INFINITY, s->p->weights.length, s->p->gradients);

            a.factor = (float)(norm > limit ? limit / norm : 1.0);
        }
        a.sum = s->sum;
        a.addend = s->p->gradients;
        threads_for(s->team, s->p->weights.length, GRAIN, add_piece, &a);
    }
    return SPRY_OK;
}

static bool run(void *context, char *reason)
{
    subject *s = context;
    spry_status status = run_parts(s, s->how == LOOP ? 1 : s->part);

    if (status != SPRY_OK) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "%.90s: %.150s", s->error.where, s->error.what);
    }
    return status == SPRY_OK;
}

static bool explain(subject *s)
{
    const spry_profile_row *rows = NULL;
    int32_t count;
    char reason[SERVE_REASON_SIZE];

    for (int i = 0; i < EXPLAINED_RUNS; i++) {
        if (!run(s, reason)) {
            (void)fprintf(stderr, "train_private: %s\n", reason);
            return false;
        }
        if (i == 0) {
            program_profile_reset(s->p);
        }
    }
    count = program_profile(s->p, &rows);
    profile_print(rows, count, EXPLAINED_RUNS - 1);
    return true;
}

static bool open_subject(subject *s)
{
    s->shape.height = s->image;
    s->shape.width = s->image;
    return make_data(s) &&
           spry_architecture_create(NULL, "vit-cifar", &s->shape, &s->m, &s->error) == SPRY_OK &&
           threads_create(NULL, (int)s->threads, &s->team, &s->error) == SPRY_OK;
}

static mode parse_mode(const char *text)
{
    static const char *const names[MODES] = {"ghost", "loop", "plain"};
    int found = 0;

    while (found < MODES && strcmp(names[found], text) != 0) {
        found++;
    }
    return (mode)found;
}

int main(int argc, char **argv)
{
    subject s = {.how = argc > 1 ? parse_mode(argv[1]) : MODES,
                 .batch = 64,
                 .part = 16,
                 .threads = 1,
                 .image = 32,
                 .shape = spry_architecture_options_default()};
    bool understood = argc % 2 == 0 && s.how != MODES;
    char reason[SERVE_REASON_SIZE];

    s.shape.depth = 2;
    s.shape.classes = CLASSES;
    for (int i = 2; understood && i < argc; i += 2) {
        understood = set_option(&s, argv[i], argv[i + 1]);
    }
    if (!understood || (s.how != LOOP && s.batch % s.part != 0)) {
        (void)fprintf(stderr, "usage: train_private ghost|loop|plain [--batch N] [--part N] "
                              "[--threads N] [--units N] [--image N] [--patch N] [--heads N] "
                              "[--depth N] [--explain yes]\n");
        return EXIT_USAGE;
    }
    if (!open_subject(&s)) {
        (void)fprintf(stderr, "train_private: %s: %s\n", s.error.where, s.error.what);
        return EXIT_FAILURE;
    }
    if (s.explains != 0) {
        return explain(&s) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (!run(&s, reason)) {
        (void)fprintf(stderr, "train_private: %s\n", reason);
        return EXIT_FAILURE;
    }
    printf("ready {\"version\": \"spry %s\", \"isa\": \"%s\"}\n", SPRY_VERSION_TEXT,
           isa_name(isa_current()));
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &s, .run = run});
    program_destroy(s.p);
    threads_destroy(s.team);
    spry_model_destroy(s.m);
    free(s.pixels);
    free(s.labels);
    free(s.sum);
    return EXIT_SUCCESS;
}
