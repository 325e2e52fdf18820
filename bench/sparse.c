/* Times layers with zeros against the best dense way of the same layer, in turns.
 *
 *     sparse [--threads N] [--rounds N] [--seconds S] [--panel N] [--clock wall|cpu]
 *            [--lanes yes] [--serve yes] < LINES
 *
 * A line is a shape (bench/shapes/) followed by three shares of numbers that are not zero: of the
 * inputs, of the weights, of the pieces of weights (--panel columns of one k, 128 at first); with
 * --lanes, filters keep that share of the weights of each 16 channels. Prints
 * a line of JSON for each: what the runtime chose, medians of both sides' times and of the ratios
 * of neighbouring turns, above 1 where zeros made it faster. The clock `cpu` is that of the one
 * thread, for machines that are busy: what others do to its caches still counts. With --serve,
 * answers the lines of bench/README.md instead, with such lines for shapes, so that peers can be
 * measured against it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "layer.h"
#include "serve.h"

enum { MOST_ROUNDS = 501, LINE_SIZE = 256, EXIT_USAGE = 2 };

typedef struct settings {
    long threads, rounds, panel;
    double seconds; /* of each line, at least */
    bool serves;
    bool lanes;
    bool by_cpu;
    threads *team;
} settings;

typedef struct measured {
    double dense[MOST_ROUNDS], sparse[MOST_ROUNDS], ratio[MOST_ROUNDS];
    int count;
} measured;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *numbers, int count)
{
    qsort(numbers, (size_t)count, sizeof *numbers, by_size);
    return numbers[count / 2];
}

static double clock_of(const settings *s)
{
    struct timespec t;

    if (!s->by_cpu || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) {
        return serve_clock_ms();
    }
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static double time_once(const settings *s, layer *l)
{
    double start = clock_of(s);

    return layer_run(l) ? clock_of(s) - start : -1.0;
}

static void measure(const settings *s, layer *dense, layer *sparse, measured *m)
{
    double start = serve_clock_ms();

    m->count = 0;
    while (m->count < MOST_ROUNDS &&
           (m->count < s->rounds || serve_clock_ms() - start < 1e3 * s->seconds)) {
        m->dense[m->count] = time_once(s, dense);
        m->sparse[m->count] = time_once(s, sparse);
        m->ratio[m->count] = m->dense[m->count] / m->sparse[m->count];
        m->count++;
    }
}

static void report(const layer *dense, const layer *sparse, const layer_zeros *zeros,
                   const char *line, measured *m)
{
    const provider_sparsity *told = sparse->step.sparsity;
    const char *way = sparse->step.plan != NULL ? sparse->step.plan : "";

    way = told != NULL && told->way != NULL ? told->way : way;
    printf("{\"shape\": \"%s\", \"inputs\": %g, \"weights\": %g, \"panels\": %g, "
           "\"provider\": \"%s\", \"way\": \"%s\", \"dense_way\": \"%s %s\", "
           "\"foretold\": %.3f, \"peer_ms\": %.4f, \"spry_ms\": %.4f, \"ratio\": %.4f, "
           "\"turns\": %d}\n",
           line, zeros->inputs, zeros->weights, zeros->panels, sparse->provider->name, way,
           dense->step.kernel, dense->step.plan != NULL ? dense->step.plan : "",
           told != NULL ? told->gain : 1.0, median(m->dense, m->count), median(m->sparse, m->count),
           median(m->ratio, m->count), m->count);
    (void)fflush(stdout);
}

/* Cuts the last number off a line. */
static bool cut_number(char *line, double *number)
{
    char *last = strrchr(line, ' ');
    char *end;

    if (last == NULL) {
        return false;
    }
    *number = strtod(last + 1, &end);
    if (end == last + 1 || *end != '\0' || !(*number >= 0.0 && *number <= 1.0)) {
        return false;
    }
    *last = '\0';
    return true;
}

/* Reads a line, of which the shape is left. */
static bool read_line(const settings *s, char *line, layer_zeros *zeros, shape *of)
{
    *zeros = (layer_zeros){.panel = s->panel, .by_lanes = s->lanes};
    line[strcspn(line, "\n")] = '\0';
    return cut_number(line, &zeros->panels) && cut_number(line, &zeros->weights) &&
           cut_number(line, &zeros->inputs) && shape_parse(line, of);
}

static bool run_line(const settings *s, char *line)
{
    static measured m;
    char reason[SERVE_REASON_SIZE] = "";
    layer_zeros none = {1.0, 1.0, 1.0, s->panel, false, true};
    layer_zeros zeros;
    layer dense;
    layer sparse;
    shape of;
    bool done;

    if (!read_line(s, line, &zeros, &of)) {
        (void)fprintf(stderr, "sparse: not a shape and three shares: %s\n", line);
        return false;
    }
    if (!layer_make(&dense, &of, LAYER_F32, LAYER_ANY, &none, s->team, reason, sizeof reason)) {
        (void)fprintf(stderr, "sparse: %s\n", reason);
        return false;
    }
    done = layer_make(&sparse, &of, LAYER_F32, LAYER_ANY, &zeros, s->team, reason, sizeof reason);
    if (done) {
        measure(s, &dense, &sparse, &m);
        report(&dense, &sparse, &zeros, line, &m);
        layer_clear(&sparse);
    } else {
        (void)fprintf(stderr, "sparse: %s\n", reason);
    }
    layer_clear(&dense);
    return done;
}

/* ---- turns with peers ---- */

typedef struct served {
    const settings *s;
    layer current;
    bool has_layer;
} served;

static bool set_shape(void *context, const char *line, char *reason)
{
    served *self = context;
    char copy[LINE_SIZE];
    layer_zeros zeros;
    shape of;

    if (self->has_layer) {
        layer_clear(&self->current);
    }
    (void)snprintf(copy, sizeof copy, "%s", line);
    self->has_layer = false;
    if (!read_line(self->s, copy, &zeros, &of)) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "not a shape and three shares: %.100s", line);
        return false;
    }
    self->has_layer = layer_make(&self->current, &of, LAYER_F32, LAYER_ANY, &zeros, self->s->team,
                                 reason, SERVE_REASON_SIZE);
    if (self->has_layer) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "%s", self->current.step.kernel);
    }
    return self->has_layer;
}

static bool run(void *context, char *reason)
{
    served *self = context;

    if (!self->has_layer || !layer_run(&self->current)) {
        (void)snprintf(reason, SERVE_REASON_SIZE, "nothing to run, or the run failed");
        return false;
    }
    return true;
}

static void serve(const settings *s)
{
    static served self;

    self.s = s;
    printf("ready {\"version\": \"spry %s\"}\n", SPRY_VERSION_TEXT);
    (void)fflush(stdout);
    serve_lines(&(serve_program){.context = &self, .set_shape = set_shape, .run = run});
    if (self.has_layer) {
        layer_clear(&self.current);
    }
}

static bool set_option(settings *s, const char *option, const char *text)
{
    if (strcmp(option, "--threads") == 0) {
        return serve_parse_number(text, 1, 1024, &s->threads);
    }
    if (strcmp(option, "--rounds") == 0) {
        return serve_parse_number(text, 1, MOST_ROUNDS, &s->rounds);
    }
    if (strcmp(option, "--panel") == 0) {
        return serve_parse_number(text, 1, SHAPE_SIZE_MAX, &s->panel);
    }
    if (strcmp(option, "--lanes") == 0) {
        s->lanes = strcmp(text, "yes") == 0;
        return true;
    }
    if (strcmp(option, "--serve") == 0) {
        s->serves = strcmp(text, "yes") == 0;
        return true;
    }
    if (strcmp(option, "--clock") == 0) {
        s->by_cpu = strcmp(text, "cpu") == 0;
        return true;
    }
    s->seconds = strtod(text, NULL);
    return strcmp(option, "--seconds") == 0;
}

int main(int argc, char **argv)
{
    settings s = {.threads = 1, .rounds = 5, .panel = 128};
    char line[LINE_SIZE];
    bool good = true;

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc || !set_option(&s, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "usage: sparse [--threads N] [--rounds N] [--seconds S] "
                                  "[--panel N] [--clock wall|cpu] "
                                  "[--serve yes] < LINES\n");
            return EXIT_USAGE;
        }
    }
    if (threads_create(NULL, (int)s.threads, &s.team, NULL) != SPRY_OK) {
        (void)fprintf(stderr, "sparse: no threads\n");
        return EXIT_FAILURE;
    }
    if (s.serves) {
        serve(&s);
    }
    while (good && !s.serves && fgets(line, sizeof line, stdin) != NULL) {
        good = run_line(&s, line);
    }
    threads_destroy(s.team);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
