/* The arithmetic of benchmarks. */
#ifndef MEASURE_BENCH_H
#define MEASURE_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "spry/bench.h"

/* The value below which the fraction `q` of the sorted values lies, interpolated linearly between
 * neighbours. `count` is at least 1. */
double bench_quantile(const double *sorted, size_t count, double q);

/* The same for q = 0.5 of numbers in any order, which are sorted. */
double bench_median(double *numbers, size_t count);

/* Fills the statistics of `times`, in the order of the runs, which are sorted by it. */
void bench_summarise(double *times, size_t count, spry_bench_result *result);

/* Runs once and gives the time of it, from `*start` to `*end` of clock_ns, without the release of
 * the outputs, which `outputs` is room for. Fails as spry_feed_run. */
SPRY_MUST_USE spry_status bench_time_run(const spry_feed *feed, spry_session *session,
                                         spry_value **outputs, int64_t *start, int64_t *end,
                                         spry_error *error);

/* Sums `rows` per operator type into `types`, which has room for `count`, slowest first. In a
 * sum, macs and bytes are those of all calls together. Returns how many types there are. */
int32_t bench_sum_types(const spry_profile_row *rows, int32_t count, spry_profile_row *types);

/* Copies `rows`, slowest first. */
void bench_sort_slowest(const spry_profile_row *rows, int32_t count, spry_profile_row *sorted);

#endif
