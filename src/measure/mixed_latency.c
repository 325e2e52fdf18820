/* Profiles of sessions, by operator. */
#include "measure/mixed_latency.h"

#include <string.h>

#include "spry/bench.h"
#include "spry/feed.h"
#include "spry/session.h"

enum { TURNS = 5, RUNS_PER_TURN = 8 };

static const double SECONDS = 0.25; /* of a whole measurement */

/* Is a label such as "QLinearConv 'stem'" that of an operator called `name`? The operator's type
 * changes when it runs in integers, its name does not. */
static bool is_label_of(const char *label, const char *name)
{
    const char *quote = strchr(label, '\'');
    size_t length = strlen(name);

    return quote != NULL && strncmp(quote + 1, name, length) == 0 &&
           strcmp(quote + 1 + length, "'") == 0;
}

static void keep_least(const spry_session *session, const char *const *names, int32_t count,
                       double *ms)
{
    const spry_profile_row *rows;
    int32_t row_count = spry_session_profile(session, &rows);

    for (int32_t r = 0; r < row_count; r++) {
        double mean = rows[r].calls > 0 ? rows[r].milliseconds / (double)rows[r].calls : 0.0;

        for (int32_t i = 0; i < count; i++) {
            if (is_label_of(rows[r].node, names[i]) && (ms[i] == 0.0 || mean < ms[i])) {
                ms[i] = mean;
            }
        }
    }
}

static spry_status open_session(const spry_model *m, int threads, bool profile,
                                spry_session **session, spry_feed **feed, spry_error *error)
{
    spry_session_options options = spry_session_options_default();
    spry_status status;

    options.threads = threads;
    options.profile = profile;
    status = spry_session_create(m, &options, session, error);
    if (status == SPRY_OK) {
        status = spry_feed_create(NULL, m, feed, error);
    }
    return status == SPRY_OK ? spry_feed_fill_random(*feed, 0, error) : status;
}

spry_status mixed_time_model(const spry_model *m, int threads, double *total, spry_error *error)
{
    spry_bench_options bench = spry_bench_options_default();
    spry_bench_result result = {0};
    spry_session *session = NULL;
    spry_feed *feed = NULL;
    spry_status status = open_session(m, threads, false, &session, &feed, error);

    bench.seconds = SECONDS;
    if (status == SPRY_OK) {
        status = spry_bench_session(session, feed, &bench, &result, error);
    }
    *total = result.median_ms;
    spry_feed_destroy(feed);
    spry_session_destroy(session);
    return status;
}

spry_status mixed_time_operators(const spry_model *m, int threads, const char *const *names,
                                 int32_t count, double *ms, double *total, spry_error *error)
{
    spry_bench_options bench = spry_bench_options_default();
    spry_bench_result result;
    spry_session *session = NULL;
    spry_feed *feed = NULL;
    spry_status status = open_session(m, threads, true, &session, &feed, error);

    memset(ms, 0, (size_t)count * sizeof *ms);
    bench.runs = RUNS_PER_TURN;
    for (int turn = 0; status == SPRY_OK && turn < TURNS; turn++) {
        bench.warmup = turn == 0 ? 1 : 0;
        spry_session_profile_reset(session);
        status = spry_bench_session(session, feed, &bench, &result, error);
        if (status == SPRY_OK && turn > 0) { /* the first turn plans and packs */
            keep_least(session, names, count, ms);
        }
    }
    spry_feed_destroy(feed);
    spry_session_destroy(session);
    return status == SPRY_OK ? mixed_time_model(m, threads, total, error) : status;
}
