/* How fast a session runs.
 *
 *     spry_bench_options options = spry_bench_options_default();
 *     spry_bench_result result;
 *     spry_status status = spry_bench_session(session, feed, &options, &result, &error);
 *     printf("%.3f ms\n", result.median_ms);
 *
 * The first run, which plans and packs weights, is told apart; warm-up runs follow; then every run
 * is timed by the monotonic clock. Outputs are released between the runs, outside the time. */
#ifndef SPRY_BENCH_H
#define SPRY_BENCH_H

#include "spry/feed.h"
#include "spry/progress.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_bench_options {
    size_t struct_size;            /* sizeof(spry_bench_options): lets the struct grow */
    int32_t runs;                  /* timed runs; 0: as many as fit into `seconds`, 5 to 100,000 */
    int32_t warmup;                /* untimed runs after the first */
    double seconds;                /* of timed runs, where `runs` is 0 */
    const spry_progress *progress; /* NULL: nobody listens */
} spry_bench_options;

/* As many runs as fit into 2 seconds, after 3 for warming up. */
SPRY_API spry_bench_options spry_bench_options_default(void);

/* Times are milliseconds of one run; quantiles are interpolated between neighbours. */
typedef struct spry_bench_result {
    int32_t runs;
    double first_ms; /* the first run, planning included */
    double min_ms;
    double mean_ms;
    double median_ms;
    double p90_ms;
    double p95_ms;
    double p99_ms;
    double max_ms;
    double deviation_ms;     /* standard deviation */
    double drift;            /* median of the last third of the runs over that of the first */
    double throttled_ms;     /* time for which a CPU quota stopped the process meanwhile */
    double load_before;      /* processes that were ready to run on this machine; -1: not known */
    uint64_t peak_rss_bytes; /* largest resident memory of the process so far; 0: not known */
} spry_bench_result;

/* Fails with SPRY_USAGE (options out of range), SPRY_LIMIT (memory), SPRY_CANCELLED, and as
 * spry_session_run does. */
SPRY_API SPRY_MUST_USE spry_status spry_bench_session(spry_session *session, const spry_feed *feed,
                                                      const spry_bench_options *options,
                                                      spry_bench_result *result, spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
