/* Loops for peaks and bandwidth, and two probe networks: one with convolutions of all kinds and
 * sizes, one of operators so small that only their own cost counts. */
#include "measure/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "architecture/builder.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/files.h"
#include "measure/bandwidth.h"
#include "measure/calibrate_fusion.h"
#include "measure/calibrate_listed.h"
#include "spry/feed.h"
#include "spry/session.h"

enum {
    TURNS = 40,
    LEAST_TURNS = 3, /* where TURNS would take longer than MOST_NS */
    SMALL_TURNS = 200,
    SHORT_CHAIN = 8,
    LONG_CHAIN = 40,
    STEPS = 7,
    KIBIBYTE = 1024
};

static const int64_t MOST_NS = 12000000000;

static bool tell(const spry_progress *progress, const char *task, int done)
{
    return progress == NULL || progress->report == NULL ||
           progress->report(progress->context, task, done, STEPS);
}

static spry_status measure_bandwidth(calibration *c, spry_error *error)
{
    return bandwidth_measure(threads_single(), c->cpu.sizes, c->cpu.rates, error);
}

/* ---- probe networks ---- */

/* Layers one after the other: outputs, kernel, stride; outputs 0 is a filter per channel. */
typedef struct probe {
    int outputs, kernel, stride;
} probe;

enum { PROBE_CHANNELS = 64, PROBE_SIDE = 56, MOST_PROBES = 64 };

/* The first one reads the image as it came, as planes, and is not counted. A filter per channel
 * does not follow a kernel of 1x1: the two would run as one. */
static const probe probes[] = {
    {64, 3, 1},  {0, 3, 1},   {64, 1, 1},  {64, 3, 1},  {256, 1, 1},  {64, 1, 1},  {96, 1, 1},
    {96, 3, 1},  {160, 1, 1}, {80, 1, 1},  {80, 3, 2},  {0, 3, 1},    {128, 3, 1}, {512, 1, 1},
    {128, 1, 1}, {0, 5, 1},   {128, 3, 2}, {256, 3, 1}, {0, 3, 1},    {768, 1, 1}, {192, 1, 1},
    {192, 5, 1}, {384, 3, 2}, {0, 3, 1},   {320, 3, 1}, {1280, 1, 1}, {320, 1, 1},
};

/* Other layers, none of which is among the probes: what the calibration is checked with. */
static const probe others[] = {
    {48, 3, 1},  {0, 3, 1},   {104, 1, 1},  {128, 1, 1}, {128, 3, 1},  {48, 1, 1},
    {192, 1, 1}, {32, 1, 1},  {32, 3, 1},   {144, 1, 1}, {144, 3, 2},  {0, 3, 1},
    {96, 3, 1},  {320, 1, 1}, {104, 1, 1},  {104, 3, 1}, {240, 1, 1},  {64, 1, 1},
    {64, 5, 1},  {208, 3, 2}, {0, 5, 1},    {208, 3, 1}, {1024, 1, 1}, {256, 1, 1},
    {256, 3, 1}, {0, 3, 1},   {112, 1, 1},  {672, 1, 1}, {440, 1, 1},  {440, 3, 2},
    {0, 3, 1},   {512, 3, 1}, {2048, 1, 1}, {512, 1, 1}, {160, 3, 1},  {960, 1, 1},
};

enum { PROBES = sizeof probes / sizeof *probes, OTHERS = sizeof others / sizeof *others };

static spry_status build(const probe *list, int count, int64_t channels, int64_t side,
                         latency_conv *shapes, model **m, spry_error *error)
{
    builder b;
    builder_flow x;
    spry_status status = builder_open(&b, NULL, 1, false, error);

    if (status != SPRY_OK) {
        return status;
    }
    x = builder_image(&b, channels, side, side);
    for (int i = 0; i < count; i++) {
        const probe *p = &list[i];
        int64_t inputs = x.size[1];
        builder_window w = {.outputs = p->outputs > 0 ? p->outputs : inputs,
                            .size = p->kernel,
                            .stride = p->stride,
                            .padding = p->kernel / 2,
                            .groups = p->outputs > 0 ? 1 : inputs,
                            .has_bias = true};
        const char *name = builder_name(&b, "probe%d", i);

        x = builder_conv(&b, x, name, w);
        shapes[i] = (latency_conv){inputs, w.outputs, x.size[2], x.size[3],
                                   w.size, w.size,    w.stride,  w.groups};
        x = builder_activation(&b, x, builder_name(&b, "probe%d.relu", i), "Relu");
    }
    builder_scores(&b, builder_average(&b, x, "average"), "scores", 2, BUILDER_LECUN);
    return builder_close(&b, m);
}

/* A model that runs with random inputs. */
typedef struct runner {
    spry_session *session;
    spry_feed *feed;
} runner;

static spry_status runner_open(runner *r, const model *m, bool profile, spry_error *error)
{
    spry_session_options options = spry_session_options_default();
    spry_status status;

    *r = (runner){0};
    options.threads = 1;
    options.profile = profile;
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

/* Seconds of one run. */
static spry_status runner_run(runner *r, double *seconds, spry_error *error)
{
    spry_value *output = NULL;
    int64_t start = clock_ns();
    spry_status status = spry_feed_run(r->feed, r->session, 1, &output, error);

    *seconds = 1e-9 * (double)(clock_ns() - start);
    spry_value_destroy(output);
    return status;
}

/* The shortest time of every probe, which the profile knows by its name. */
static spry_status time_probes(const model *m, int count, double *seconds, spry_error *error)
{
    runner r;
    spry_status status = runner_open(&r, m, true, error);
    int64_t start = clock_ns();
    double ignored;

    for (int i = 0; i < count; i++) {
        seconds[i] = HUGE_VAL;
    }
    for (int turn = 0;
         status == SPRY_OK && turn < TURNS && (turn < LEAST_TURNS || clock_ns() - start < MOST_NS);
         turn++) {
        const spry_profile_row *rows = NULL;
        int32_t row_count;

        spry_session_profile_reset(r.session);
        status = runner_run(&r, &ignored, error);
        row_count = status == SPRY_OK ? spry_session_profile(r.session, &rows) : 0;
        for (int32_t k = 0; turn > 0 && k < row_count; k++) {
            const char *quote = strstr(rows[k].node, "'probe");
            int i = quote != NULL ? (int)strtol(quote + 6, NULL, 10) : count;

            if (i >= 0 && i < count && strcmp(rows[k].type, "Conv") == 0 && rows[k].calls > 0) {
                seconds[i] = fmin(seconds[i], 1e-3 * rows[k].milliseconds);
            }
        }
    }
    runner_close(&r);
    return status;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median of measured over foretold, per kind. */
static void fit(calibration *c, const latency_conv *shapes, const double *seconds, int count)
{
    for (int kind = 0; kind < LATENCY_CPU_KINDS; kind++) {
        double ratios[MOST_PROBES];
        size_t found = 0;

        for (int i = 1; i < count; i++) {
            latency_cpu_kind is;
            double foretold = latency_cpu_foretold(&c->cpu, &shapes[i], &is);

            if ((int)is == kind && isfinite(seconds[i])) {
                ratios[found++] = fmax(seconds[i] - c->cpu.per_operator, 0) / foretold;
            }
        }
        qsort(ratios, found, sizeof *ratios, ascending);
        c->cpu.scale[kind] = found > 0 ? fmax(ratios[found / 2], 1e-3) : 1;
        for (size_t i = 0; i < found; i++) {
            c->deviation[kind] = fmax(c->deviation[kind], fabs(ratios[i] / c->cpu.scale[kind] - 1));
        }
        c->probes += (int)found;
    }
}

static spry_status measure_convolutions(calibration *c, spry_error *error)
{
    latency_conv shapes[MOST_PROBES];
    double seconds[MOST_PROBES];
    model *m = NULL;
    spry_status status = build(probes, PROBES, PROBE_CHANNELS, PROBE_SIDE, shapes, &m, error);

    if (status == SPRY_OK) {
        status = time_probes(m, PROBES, seconds, error);
    }
    if (status == SPRY_OK) {
        fit(c, shapes, seconds, PROBES);
    }
    spry_model_destroy(m);
    return status;
}

/* ---- the check ---- */

static spry_status check(calibration *c, spry_error *error)
{
    latency_conv shapes[MOST_PROBES];
    double seconds[MOST_PROBES];
    double measured[MOST_PROBES];
    double predicted[MOST_PROBES];
    model *m = NULL;
    spry_status status = build(others, OTHERS, PROBE_CHANNELS, PROBE_SIDE, shapes, &m, error);

    if (status == SPRY_OK) {
        status = time_probes(m, OTHERS, seconds, error);
    }
    for (int i = 1; status == SPRY_OK && i < OTHERS; i++) {
        if (isfinite(seconds[i])) {
            measured[c->checked] = seconds[i];
            predicted[c->checked] = latency_cpu_conv(&c->cpu, &shapes[i]);
            c->error += fabs(predicted[c->checked] / measured[c->checked] - 1);
            c->checked++;
        }
    }
    if (c->checked > 0) {
        c->error /= c->checked;
        c->rank_correlation = calibrate_rank_correlation(measured, predicted, c->checked);
    }
    spry_model_destroy(m);
    return status;
}

/* The shortest run of a chain of tiny convolutions. */
static spry_status time_chain(int length, double *shortest, spry_error *error)
{
    enum { CHANNELS = 16, SIDE = 4 };
    probe list[LONG_CHAIN];
    latency_conv shapes[LONG_CHAIN];
    model *m = NULL;
    runner r = {0};
    spry_status status;

    for (int i = 0; i < length; i++) {
        list[i] = (probe){CHANNELS, 1, 1};
    }
    *shortest = HUGE_VAL;
    status = build(list, length, CHANNELS, SIDE, shapes, &m, error);
    if (status == SPRY_OK) {
        status = runner_open(&r, m, false, error);
    }
    for (int turn = 0; status == SPRY_OK && turn < SMALL_TURNS; turn++) {
        double seconds;

        status = runner_run(&r, &seconds, error);
        *shortest = fmin(*shortest, seconds);
    }
    runner_close(&r);
    spry_model_destroy(m);
    return status;
}

static spry_status measure_operator(calibration *c, spry_error *error)
{
    double few;
    double many;
    spry_status status = time_chain(SHORT_CHAIN, &few, error);

    if (status == SPRY_OK) {
        status = time_chain(LONG_CHAIN, &many, error);
    }
    if (status == SPRY_OK) {
        c->cpu.per_operator = fmax((many - few) / (LONG_CHAIN - SHORT_CHAIN), 0);
    }
    return status;
}

spry_status calibrate_machine(const spry_progress *progress, calibration *c, spry_error *error)
{
    static const struct {
        const char *task;
        spry_status (*measure)(calibration *c, spry_error *error);
    } steps[] = {{"measuring bandwidth", measure_bandwidth},
                 {"timing small operators", measure_operator},
                 {"timing convolutions", measure_convolutions},
                 {"timing squares", calibrate_listed},
                 {"checking with other layers", check},
                 {"checking with squares of others", calibrate_listed_check}};
    spry_status status = SPRY_OK;
    bool go_on = tell(progress, "measuring peaks", 0);

    *c = (calibration){.cpu = {.threads = 1}};
    peak_measure(&c->peak);
    c->cpu.clock = c->peak.gigahertz * 1e9;
    c->cpu.peak = c->peak.gigaflops[PEAK_F32] * 1e9;
    for (int i = 0; status == SPRY_OK && i < STEPS - 1; i++) {
        go_on = go_on && tell(progress, steps[i].task, i + 1);
        status = go_on ? steps[i].measure(c, error)
                       : spry_fail(error, SPRY_CANCELLED, "calibration", NULL, "was stopped");
    }
    if (status == SPRY_OK) {
        c->fusion.cpu = c->cpu;
        status = calibrate_fusion(progress, &c->fusion, error);
    }
    (void)tell(progress, "done", STEPS);
    return status;
}

/* ---- the file ---- */

static void write_quantity(json_writer *json, const char *key, double value, quantity_unit unit)
{
    char buffer[QUANTITY_SIZE];

    json_write_string(json, key, quantity_format(buffer, value, unit));
}

static void write_cpu(json_writer *json, const calibration *c)
{
    json_write_object(json, "cpu");
    json_write_i64(json, "threads", c->cpu.threads);
    json_write_object(json, "peak");
    for (int t = 0; t < PEAK_TYPES; t++) {
        if (c->peak.kernel[t] != NULL) {
            write_quantity(json, peak_type_name((peak_type)t), c->peak.gigaflops[t] * 1e9,
                           UNIT_OPERATIONS_PER_SECOND);
        }
    }
    json_write_end(json);
    for (int i = 0; i < LATENCY_CPU_LEVELS; i++) {
        json_write_object(json, latency_cpu_level_names[i]);
        if (i < LATENCY_CPU_LEVELS - 1) {
            char size[QUANTITY_SIZE];

            (void)snprintf(size, sizeof size, "%.0f KiB", c->cpu.sizes[i] / KIBIBYTE);
            json_write_string(json, "size", size);
        }
        write_quantity(json, "triad", c->cpu.rates[i], UNIT_BYTES_PER_SECOND);
        json_write_end(json);
    }
    write_quantity(json, "per_operator", c->cpu.per_operator, UNIT_SECONDS);
    json_write_object(json, "listed");
    for (int i = 0; i < LATENCY_CPU_TERMS; i++) {
        const char *name = latency_cpu_term_names[i];

        if (latency_cpu_term_is_time((latency_cpu_term)i)) {
            write_quantity(json, name, c->cpu.listed[i], UNIT_SECONDS);
        } else {
            json_write_f64(json, name, c->cpu.listed[i]);
        }
    }
    json_write_end(json);
    json_write_object(json, "scale");
    for (int i = 0; i < LATENCY_CPU_KINDS; i++) {
        json_write_f64(json, latency_cpu_kind_names[i], c->cpu.scale[i]);
    }
    json_write_end(json);
    json_write_end(json);
}

static spry_status make_folder_of(const char *path, spry_error *error)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');

    if (slash == NULL || slash == path || (size_t)(slash - path) >= sizeof folder) {
        return SPRY_OK;
    }
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    return file_make_folder(folder, error);
}

spry_status calibration_save(const calibration *c, const char *name, const char *path,
                             spry_error *error)
{
    text out;
    json_writer json;
    spry_status status;

    text_init(&out, NULL, 1 << 16);
    json_writer_init(&json, &out, 2);
    json_write_object(&json, NULL);
    json_write_object(&json, "about");
    json_write_string(&json, "name", name);
    json_write_string(&json, "source", "measured by spry doctor --calibrate");
    json_write_end(&json);
    json_write_object(&json, "compute");
    write_quantity(&json, "clock", c->cpu.clock, UNIT_HERTZ);
    json_write_end(&json);
    write_cpu(&json, c);
    fusion_cpu_write(&c->fusion, &json);
    json_write_end(&json);
    status = text_status(&out, "the description", error);
    if (status == SPRY_OK) {
        status = make_folder_of(path, error);
    }
    if (status == SPRY_OK) {
        status = file_replace(path, out.data, out.length, error);
    }
    text_fini(&out);
    return status;
}
