#include "measure/calibrate_fusion.h"

#include <math.h>
#include <string.h>

#include "architecture/builder.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/threads.h"
#include "measure/bench.h"
#include "spry/feed.h"
#include "spry/session.h"

enum {
    TURNS = 9,
    LEAST_TURNS = 3, /* where TURNS take longer than most_ns */
    REGIONS = 400,
    FEW_CHANNELS = 16,
    STRIP_SIDE = 32,
    STRIP_LAYERS = 3
};

static const double most_operations = 1e9; /* larger layers are as fast as these */
static const int64_t most_ns = 60000000;   /* of the turns of one layer and team */

/* ---- parallel regions ---- */

static void nothing(void *context, int64_t begin, int64_t end, int worker)
{
    (void)context;
    (void)begin;
    (void)end;
    (void)worker;
}

/* Seconds of an empty region: the least, for others were disturbed. */
static spry_status time_region(int32_t members, double *seconds, spry_error *error)
{
    threads *team = NULL;
    spry_status status = threads_create(NULL, members, &team, error);

    *seconds = HUGE_VAL;
    if (status != SPRY_OK) {
        return status;
    }
    threads_engage(team);
    for (int i = 0; i < REGIONS; i++) {
        int64_t start = clock_ns();

        threads_for(team, members, 1, nothing, NULL);
        *seconds = fmin(*seconds, 1e-9 * (double)(clock_ns() - start));
    }
    threads_rest(team);
    threads_destroy(team);
    return SPRY_OK;
}

/* ---- single layers ---- */

/* A model that runs with random inputs, its layers as `blocks` say. */
typedef struct runner {
    spry_session *session;
    spry_feed *feed;
} runner;

static spry_status runner_open(runner *r, const model *m, int32_t members,
                               const spry_blocks *blocks, spry_error *error)
{
    spry_session_options options = spry_session_options_default();
    spry_status status;

    *r = (runner){0};
    options.threads = members;
    options.profile = true;
    options.blocks = blocks;
    status = spry_session_create(m, &options, &r->session, error);
    if (status == SPRY_OK) {
        status = spry_feed_create(NULL, m, &r->feed, error);
    }
    return status == SPRY_OK ? spry_feed_fill_random(r->feed, 0, error) : status;
}

static void runner_close(runner *r)
{
    spry_feed_destroy(r->feed);
    spry_session_destroy(r->session);
}

/* The median time of the node that makes `result`, after a turn that warms up. */
static spry_status runner_time(runner *r, const char *result, double *seconds, spry_error *error)
{
    double times[TURNS];
    size_t count = 0;
    int64_t start = clock_ns();
    spry_status status = SPRY_OK;

    for (int turn = 0; status == SPRY_OK && turn <= TURNS; turn++) {
        const spry_profile_row *rows = NULL;
        spry_value *output = NULL;
        int32_t row_count;

        spry_session_profile_reset(r->session);
        status = spry_feed_run(r->feed, r->session, 1, &output, error);
        spry_value_destroy(output);
        row_count = status == SPRY_OK ? spry_session_profile(r->session, &rows) : 0;
        for (int32_t i = 0; turn > 0 && i < row_count; i++) {
            if (strcmp(rows[i].result, result) == 0 && rows[i].calls > 0) {
                times[count++] = 1e-3 * rows[i].milliseconds;
                break;
            }
        }
        if (count >= LEAST_TURNS && clock_ns() - start > most_ns) {
            break;
        }
    }
    if (status == SPRY_OK && count == 0) {
        return spry_fail(error, SPRY_INTERNAL, result, NULL, "was not among the layers that ran");
    }
    *seconds = count > 0 ? bench_median(times, count) : 0;
    return status;
}

/* A layer between one that gives it its channels, held channels-last, and one that reads them. */
static spry_status build_layer(const scaling_layer *l, model **m, spry_error *error)
{
    builder b;
    builder_flow x;
    spry_status status = builder_open(&b, NULL, 1, false, error);

    if (status != SPRY_OK) {
        return status;
    }
    x = builder_image(&b, FEW_CHANNELS, l->side, l->side);
    x = builder_conv(&b, x, "before", (builder_window){.outputs = l->inputs, .size = 1});
    x = builder_conv(&b, x, "probe",
                     (builder_window){.outputs = l->outputs,
                                      .size = l->kernel,
                                      .stride = 1,
                                      .padding = l->kernel / 2,
                                      .groups = l->groups,
                                      .has_bias = true});
    builder_scores(&b, builder_average(&b, x, "average"), "scores", 2, BUILDER_LECUN);
    return builder_close(&b, m);
}

/* The name of the layer whose convolution has that many macs, the last of them. */
static spry_status find_probe(const model *m, const scaling_layer *l, const char **name,
                              spry_session **session, spry_error *error)
{
    const spry_layer *layers = NULL;
    int32_t count = 0;
    spry_status status = spry_session_create(m, NULL, session, error);

    *name = NULL;
    if (status == SPRY_OK) {
        status = spry_session_layers(*session, &layers, &count, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        if (layers[i].in[0] == l->inputs && layers[i].out[0] == l->outputs &&
            layers[i].kernel[0] == l->kernel) {
            *name = layers[i].name;
        }
    }
    if (status == SPRY_OK && *name == NULL) {
        return spry_fail(error, SPRY_INTERNAL, "probe", NULL, "is no layer of its plan");
    }
    return status;
}

static spry_status time_layer(const scaling_layer *l, const scaling *s, scaling_point *p,
                              spry_error *error)
{
    static const spry_blocks none = {NULL, 0};
    model *m = NULL;
    spry_session *looked_at = NULL;
    const char *name = NULL;
    spry_status status = build_layer(l, &m, error);

    *p = (scaling_point){.operations = scaling_layer_operations(l), .channels = (double)l->outputs};
    if (status == SPRY_OK) {
        status = find_probe(m, l, &name, &looked_at, error);
    }
    for (int32_t k = 0; status == SPRY_OK && k < s->team_count; k++) {
        runner r;

        status = runner_open(&r, m, s->teams[k], &none, error);
        if (status == SPRY_OK) {
            status = runner_time(&r, name, &p->seconds[k], error);
        }
        runner_close(&r);
    }
    spry_session_destroy(looked_at);
    spry_model_destroy(m);
    return status;
}

/* ---- strips ---- */

/* Seconds of one strip of a layer: a block of small layers by single rows, and as a whole. */
static spry_status time_strips(double *per_strip, spry_error *error)
{
    builder b;
    builder_flow x;
    model *m = NULL;
    spry_session *session = NULL;
    const spry_layer *layers = NULL;
    const char *names[STRIP_LAYERS];
    double seconds[2] = {0};
    int32_t count = 0;
    spry_status status = builder_open(&b, NULL, 1, false, error);

    if (status != SPRY_OK) {
        return status;
    }
    x = builder_image(&b, FEW_CHANNELS, STRIP_SIDE, STRIP_SIDE);
    for (int i = 0; i <= STRIP_LAYERS; i++) {
        x = builder_conv(&b, x, builder_name(&b, "probe%d", i),
                         (builder_window){.outputs = FEW_CHANNELS, .size = 1});
    }
    builder_scores(&b, builder_average(&b, x, "average"), "scores", 2, BUILDER_LECUN);
    status = builder_close(&b, &m);
    if (status == SPRY_OK) {
        status = spry_session_create(m, NULL, &session, error);
    }
    if (status == SPRY_OK) {
        status = spry_session_layers(session, &layers, &count, error);
    }
    for (int way = 0; way < 2 && status == SPRY_OK && count > STRIP_LAYERS; way++) {
        spry_block block = {names, STRIP_LAYERS, 1, way == 0 ? 1 : STRIP_SIDE, 0};
        const spry_blocks blocks = {&block, 1};
        runner r;

        for (int i = 0; i < STRIP_LAYERS; i++) {
            names[i] = layers[i + 1].name;
        }
        status = runner_open(&r, m, 1, &blocks, error);
        if (status == SPRY_OK) {
            status = runner_time(&r, names[STRIP_LAYERS - 1], &seconds[way], error);
        }
        runner_close(&r);
    }
    *per_strip = fmax((seconds[0] - seconds[1]) / ((STRIP_SIDE - 1) * STRIP_LAYERS), 0);
    spry_session_destroy(session);
    spry_model_destroy(m);
    return status;
}

/* ---- all of it ---- */

static spry_status time_layers(const spry_progress *progress, fusion_cpu *f, scaling_layer *layers,
                               scaling_point *points, spry_error *error)
{
    int32_t count = scaling_layers(most_operations, layers);
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        bool go_on = progress == NULL || progress->report == NULL ||
                     progress->report(progress->context, "timing layers on all threads", i, count);

        status = go_on ? time_layer(&layers[i], &f->threads, &points[i], error)
                       : spry_fail(error, SPRY_CANCELLED, "calibration", NULL, "was stopped");
    }
    if (status == SPRY_OK) {
        scaling_fit(&f->threads, points, count);
    }
    return status;
}

spry_status calibrate_fusion(const spry_progress *progress, fusion_cpu *f, spry_error *error)
{
    size_t bytes = SCALING_POINTS_MOST * (sizeof(scaling_layer) + sizeof(scaling_point));
    scaling_layer *layers = alloc_zeroed(spry_allocator_system(), bytes);
    spry_status status = SPRY_OK;

    if (layers == NULL) {
        return alloc_failed(error, bytes);
    }
    f->threads = (scaling){0};
    f->threads.team_count = fusion_cpu_teams(threads_available(), f->threads.teams);
    for (int32_t k = 0; k < f->threads.team_count && status == SPRY_OK; k++) {
        status = time_region(f->threads.teams[k], &f->region[k], error);
    }
    if (status == SPRY_OK) {
        status = time_strips(&f->per_strip, error);
    }
    if (status == SPRY_OK) {
        status = time_layers(progress, f, layers, (scaling_point *)(layers + SCALING_POINTS_MOST),
                             error);
    }
    alloc_release(spry_allocator_system(), layers, bytes);
    return status;
}
