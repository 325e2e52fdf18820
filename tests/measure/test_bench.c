/* The arithmetic of benchmarks: quantiles, drift, sums per operator. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "measure/bench.h"
#include "support/fault.h"

static void check(double found, double expected)
{
    assert_true(fabs(found - expected) <= 1e-12 * (1.0 + fabs(expected)));
}

static void quantiles_are_interpolated(void **state)
{
    const double sorted[] = {1, 2, 4, 8};

    (void)state;
    check(bench_quantile(sorted, 1, 0.99), 1);
    check(bench_quantile(sorted, 4, 0.0), 1);
    check(bench_quantile(sorted, 4, 1.0), 8);
    check(bench_quantile(sorted, 4, 0.5), 3);
    check(bench_quantile(sorted, 4, 0.9), 4 + 0.7 * 4);
    check(bench_quantile(sorted, 3, 0.5), 2);
}

static void statistics_of_known_times(void **state)
{
    double times[] = {2, 4, 4, 4, 5, 5, 7, 9};
    double single[] = {3};
    spry_bench_result result = {0};

    (void)state;
    bench_summarise(times, 8, &result);
    assert_int_equal(result.runs, 8);
    check(result.min_ms, 2);
    check(result.max_ms, 9);
    check(result.mean_ms, 5);
    check(result.median_ms, 4.5);
    check(result.deviation_ms, sqrt(32.0 / 7.0));
    check(result.drift, 8.0 / 3.0);
    bench_summarise(single, 1, &result);
    check(result.median_ms, 3);
    check(result.p99_ms, 3);
    check(result.deviation_ms, 0);
    check(result.drift, 1);
}

static void steady_times_do_not_drift(void **state)
{
    double times[100];
    spry_bench_result result = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        times[i] = i % 2 == 0 ? 1.0 : 1.05;
    }
    bench_summarise(times, 100, &result);
    assert_true(result.drift > 0.9 && result.drift < 1.1);
}

static void operators_are_summed(void **state)
{
    const spry_profile_row rows[] = {
        {.node = "a", .type = "Conv", .calls = 2, .milliseconds = 1.0, .macs = 10, .bytes = 1},
        {.node = "b", .type = "Relu", .calls = 2, .milliseconds = 4.0, .bytes = 3},
        {.node = "c", .type = "Conv", .calls = 1, .milliseconds = 2.0, .macs = 5, .bytes = 2},
    };
    spry_profile_row types[3];
    spry_profile_row sorted[3];

    (void)state;
    assert_int_equal(bench_sum_types(rows, 3, types), 2);
    assert_string_equal(types[0].type, "Relu");
    assert_string_equal(types[1].type, "Conv");
    assert_int_equal(types[1].calls, 3);
    assert_int_equal(types[1].macs, 25);
    assert_int_equal(types[1].bytes, 4);
    check(types[1].milliseconds, 3.0);
    bench_sort_slowest(rows, 3, sorted);
    assert_string_equal(sorted[0].node, "b");
    assert_string_equal(sorted[1].node, "c");
    assert_string_equal(sorted[2].node, "a");
    assert_int_equal(bench_sum_types(rows, 0, types), 0);
}

/* ---- whole benchmarks ---- */

typedef struct subject {
    spry_model *model;
    spry_session *session;
    spry_feed *feed;
} subject;

static int open_subject(void **state)
{
    static subject s;
    const char *root = getenv("SPRY_SOURCE_DIR");
    spry_session_options options = spry_session_options_default();
    char path[1024];

    options.threads = 1;
    (void)snprintf(path, sizeof path, "%s/tests/cli/models/sum.onnx", root != NULL ? root : ".");
    assert_int_equal(spry_model_load(NULL, path, &s.model, NULL), SPRY_OK);
    assert_int_equal(spry_session_create(s.model, &options, &s.session, NULL), SPRY_OK);
    assert_int_equal(spry_feed_create(NULL, s.model, &s.feed, NULL), SPRY_OK);
    assert_int_equal(spry_feed_fill_random(s.feed, 0, NULL), SPRY_OK);
    *state = &s;
    return 0;
}

static int close_subject(void **state)
{
    subject *s = *state;

    spry_feed_destroy(s->feed);
    spry_session_destroy(s->session);
    spry_model_destroy(s->model);
    return 0;
}

static void runs_are_counted_and_timed(void **state)
{
    subject *s = *state;
    spry_bench_options options = spry_bench_options_default();
    spry_bench_result result;

    options.runs = 17;
    options.warmup = 0;
    assert_int_equal(spry_bench_session(s->session, s->feed, &options, &result, NULL), SPRY_OK);
    assert_int_equal(result.runs, 17);
    assert_true(result.min_ms > 0 && result.min_ms <= result.median_ms);
    assert_true(result.first_ms > 0 && result.peak_rss_bytes > 1000000);
    options.runs = 0;
    options.seconds = 0;
    assert_int_equal(spry_bench_session(s->session, s->feed, &options, &result, NULL), SPRY_OK);
    assert_int_equal(result.runs, 5);
}

static bool stop_at_once(void *context, const char *task, double done, double total)
{
    (void)context;
    (void)task;
    (void)done;
    (void)total;
    return false;
}

static void options_are_checked_and_progress_may_cancel(void **state)
{
    subject *s = *state;
    const spry_progress progress = {stop_at_once, NULL};
    spry_bench_options options = spry_bench_options_default();
    spry_bench_result result;

    options.progress = &progress;
    assert_int_equal(spry_bench_session(s->session, s->feed, &options, &result, NULL),
                     SPRY_CANCELLED);
    options.runs = -1;
    assert_int_equal(spry_bench_session(s->session, s->feed, &options, &result, NULL), SPRY_USAGE);
    options.runs = 1;
    options.struct_size = 0;
    assert_int_equal(spry_bench_session(s->session, s->feed, &options, &result, NULL), SPRY_USAGE);
}

static spry_status feed_and_bench(const spry_allocator *allocator, void *context, spry_error *error)
{
    const subject *s = context;
    spry_bench_options options = spry_bench_options_default();
    spry_bench_result result;
    spry_feed *feed = NULL;
    spry_status status = spry_feed_create(allocator, s->model, &feed, error);

    options.runs = 3;
    if (status == SPRY_OK) {
        status = spry_feed_fill_random(feed, 0, error);
    }
    if (status == SPRY_OK) {
        status = spry_bench_session(s->session, feed, &options, &result, error);
    }
    spry_feed_destroy(feed);
    return status;
}

static void memory_running_out(void **state)
{
    assert_true(fault_sweep(feed_and_bench, *state) > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_interpolated),
        cmocka_unit_test(statistics_of_known_times),
        cmocka_unit_test(steady_times_do_not_drift),
        cmocka_unit_test(operators_are_summed),
        cmocka_unit_test(runs_are_counted_and_timed),
        cmocka_unit_test(options_are_checked_and_progress_may_cancel),
        cmocka_unit_test(memory_running_out),
    };

    return cmocka_run_group_tests(tests, open_subject, close_subject);
}
