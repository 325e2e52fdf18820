/* The arithmetic of benchmarks: quantiles, drift, sums per operator. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "measure/bench.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_interpolated),
        cmocka_unit_test(statistics_of_known_times),
        cmocka_unit_test(steady_times_do_not_drift),
        cmocka_unit_test(operators_are_summed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
