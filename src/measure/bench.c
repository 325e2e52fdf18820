/* Timing of runs, and what may spoil it. */
#include "measure/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cgroup.h"
#include "base/clock.h"
#include "base/progress.h"
#include "measure/feed.h"

enum {
    RUNS_LEAST = 5,
    RUNS_ENOUGH = 100000, /* more would only cost memory, which is measured, too */
    RUNS_MOST = 1000000
};

#define SECONDS_MOST 86400.0

spry_bench_options spry_bench_options_default(void)
{
    return (spry_bench_options){
        .struct_size = sizeof(spry_bench_options), .warmup = 3, .seconds = 2.0};
}

/* ---- arithmetic ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_quantile(const double *sorted, size_t count, double q)
{
    double place = q * (double)(count - 1);
    size_t below = (size_t)place;
    size_t above = below + 1 < count ? below + 1 : below;

    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

double bench_median(double *numbers, size_t count)
{
    qsort(numbers, count, sizeof *numbers, compare);
    return bench_quantile(numbers, count, 0.5);
}

void bench_summarise(double *times, size_t count, spry_bench_result *result)
{
    size_t third = count / 3;
    double sum = 0.0;
    double squares = 0.0;

    result->drift = 1.0;
    if (third > 0) {
        double first = bench_median(times, third);
        double last = bench_median(times + count - third, third);

        result->drift = first > 0.0 ? last / first : 1.0;
    }
    qsort(times, count, sizeof *times, compare);
    for (size_t i = 0; i < count; i++) {
        sum += times[i];
    }
    result->runs = (int32_t)count;
    result->mean_ms = sum / (double)count;
    for (size_t i = 0; i < count; i++) {
        squares += (times[i] - result->mean_ms) * (times[i] - result->mean_ms);
    }
    result->deviation_ms = count > 1 ? sqrt(squares / (double)(count - 1)) : 0.0;
    result->min_ms = times[0];
    result->median_ms = bench_quantile(times, count, 0.5);
    result->p90_ms = bench_quantile(times, count, 0.9);
    result->p95_ms = bench_quantile(times, count, 0.95);
    result->p99_ms = bench_quantile(times, count, 0.99);
    result->max_ms = times[count - 1];
}

/* ---- operators ---- */

static int slower(const void *a, const void *b)
{
    const spry_profile_row *x = a;
    const spry_profile_row *y = b;

    return (x->milliseconds < y->milliseconds) - (x->milliseconds > y->milliseconds);
}

int32_t bench_sum_types(const spry_profile_row *rows, int32_t count, spry_profile_row *types)
{
    int32_t known = 0;

    for (int32_t i = 0; i < count; i++) {
        int32_t k = 0;

        while (k < known && strcmp(types[k].type, rows[i].type) != 0) {
            k++;
        }
        if (k == known) {
            types[known++] = (spry_profile_row){.type = rows[i].type};
        }
        types[k].calls += rows[i].calls;
        types[k].milliseconds += rows[i].milliseconds;
        types[k].macs += rows[i].macs * rows[i].calls;
        types[k].bytes += rows[i].bytes * rows[i].calls;
    }
    qsort(types, (size_t)known, sizeof *types, slower);
    return known;
}

void bench_sort_slowest(const spry_profile_row *rows, int32_t count, spry_profile_row *sorted)
{
    memcpy(sorted, rows, (size_t)count * sizeof *rows);
    qsort(sorted, (size_t)count, sizeof *sorted, slower);
}

/* ---- the machine ---- */

/* From the kernel's account of this process: getrusage would count what started it, too. */
static uint64_t peak_rss(void)
{
    static const char key[] = "VmHWM:";
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");

    if (file == NULL) {
        return 0;
    }
    while (kib == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, sizeof key - 1) == 0) {
            kib = strtoull(line + sizeof key - 1, NULL, 10);
        }
    }
    (void)fclose(file);
    return kib * 1024;
}

/* ---- runs ---- */

typedef struct bench_runner {
    spry_session *session;
    const spry_feed *feed;
    spry_value **outputs;
    double *times;
    size_t capacity;
    size_t count;
} bench_runner;

spry_status bench_time_run(const spry_feed *feed, spry_session *session, spry_value **outputs,
                           int64_t *start, int64_t *end, spry_error *error)
{
    int32_t count = spry_feed_output_count(feed);
    spry_status status;

    *start = clock_ns();
    status = spry_feed_run(feed, session, count, outputs, error);
    *end = clock_ns();
    for (int32_t i = 0; i < count; i++) {
        spry_value_destroy(outputs[i]);
        outputs[i] = NULL;
    }
    return status;
}

static spry_status time_run(bench_runner *r, double *ms, spry_error *error)
{
    int64_t start;
    int64_t end;
    spry_status status = bench_time_run(r->feed, r->session, r->outputs, &start, &end, error);

    *ms = (double)(end - start) * 1e-6;
    return status;
}

static spry_status keep_time(bench_runner *r, double ms, spry_error *error)
{
    void *times = r->times;
    spry_status status = alloc_grow(&r->feed->allocator, &times, &r->capacity, r->count + 1,
                                    sizeof *r->times, RUNS_MOST, error);

    if (status == SPRY_OK) {
        r->times = times;
        r->times[r->count++] = ms;
    }
    return status;
}

static bool is_enough(const bench_runner *r, const spry_bench_options *options, int64_t start)
{
    double seconds = (double)(clock_ns() - start) * 1e-9;

    if (options->runs > 0) {
        return r->count >= (size_t)options->runs;
    }
    return r->count == RUNS_ENOUGH || (r->count >= RUNS_LEAST && seconds >= options->seconds);
}

static spry_status run_all(bench_runner *r, const spry_bench_options *options,
                           spry_bench_result *result, spry_error *error)
{
    spry_status status = time_run(r, &result->first_ms, error);
    int64_t start;
    double ms;

    for (int32_t i = 0; i < options->warmup && status == SPRY_OK; i++) {
        status = time_run(r, &ms, error);
    }
    start = clock_ns();
    while (status == SPRY_OK && !is_enough(r, options, start)) {
        status = time_run(r, &ms, error);
        if (status == SPRY_OK) {
            status = keep_time(r, ms, error);
        }
        if (status == SPRY_OK) {
            status = progress_report(options->progress, "timing runs", (double)r->count,
                                     (double)options->runs, error);
        }
    }
    return status;
}

static spry_status check_options(const spry_bench_options *options, spry_error *error)
{
    if (options->struct_size == sizeof *options && options->runs >= 0 &&
        options->runs <= RUNS_MOST && options->warmup >= 0 && options->warmup <= RUNS_MOST &&
        options->seconds >= 0.0 && options->seconds <= SECONDS_MOST) {
        return SPRY_OK;
    }
    return spry_fail(error, SPRY_USAGE, "spry_bench_options",
                     "start from spry_bench_options_default()", "a member is out of range");
}

spry_status spry_bench_session(spry_session *session, const spry_feed *feed,
                               const spry_bench_options *options, spry_bench_result *result,
                               spry_error *error)
{
    const spry_allocator *allocator = &feed->allocator;
    bench_runner r = {.session = session, .feed = feed};
    size_t bytes = ((size_t)spry_feed_output_count(feed) + 1) * sizeof *r.outputs;
    uint64_t throttled = cgroup_throttled();
    spry_status status = check_options(options, error);

    *result = (spry_bench_result){0};
    if (status != SPRY_OK) {
        return status;
    }
    if (getloadavg(&result->load_before, 1) != 1) {
        result->load_before = -1.0;
    }
    r.outputs = alloc_zeroed(allocator, bytes);
    if (r.outputs == NULL) {
        return alloc_failed(error, bytes);
    }
    status = run_all(&r, options, result, error);
    if (status == SPRY_OK) {
        bench_summarise(r.times, r.count, result);
        result->throttled_ms = (double)(cgroup_throttled() - throttled) * 1e-3;
        result->peak_rss_bytes = peak_rss();
    }
    alloc_release(allocator, r.times, r.capacity * sizeof *r.times);
    alloc_release(allocator, r.outputs, bytes);
    return status;
}
