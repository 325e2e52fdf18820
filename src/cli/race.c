/* Turns of two sessions. */
#include "cli/race.h"

#include "measure/bench.h"
#include "spry/bench.h"
#include "spry/feed.h"

enum { TURNS = 7 };

static const double seconds_per_turn = 0.1;

static spry_status feed_side(const race_side *side, spry_feed **feed, spry_error *error)
{
    spry_status status = spry_feed_create(NULL, side->model, feed, error);

    return status == SPRY_OK ? spry_feed_fill_random(*feed, 0, error) : status;
}

spry_status race_run(const race_side sides[2], race_result *result, spry_error *error)
{
    spry_bench_options bench = spry_bench_options_default();
    spry_feed *feeds[2] = {NULL, NULL};
    double times[2][TURNS];
    double ratios[TURNS];
    spry_status status = feed_side(&sides[0], &feeds[0], error);

    if (status == SPRY_OK) {
        status = feed_side(&sides[1], &feeds[1], error);
    }
    bench.warmup = 1;
    bench.seconds = seconds_per_turn;
    for (int i = 0; status == SPRY_OK && i < TURNS; i++) {
        for (int k = 0; status == SPRY_OK && k < 2; k++) {
            spry_bench_result told;

            status = spry_bench_session(sides[k].session, feeds[k], &bench, &told, error);
            times[k][i] = status == SPRY_OK ? told.median_ms : 0.0;
        }
        ratios[i] = status == SPRY_OK ? times[0][i] / times[1][i] : 0.0;
    }
    if (status == SPRY_OK) {
        result->ms[0] = bench_median(times[0], TURNS);
        result->ms[1] = bench_median(times[1], TURNS);
        result->speed_up = bench_median(ratios, TURNS);
    }
    spry_feed_destroy(feeds[0]);
    spry_feed_destroy(feeds[1]);
    return status;
}
