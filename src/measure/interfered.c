/* Alone, then beside an aggressor. */
#include "measure/interfered.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/trace.h"
#include "measure/bench.h"

enum { WARM_RUNS = 2, LEAST_RUNS = 5, MOST_RUNS = 2000 };

typedef struct beside {
    const spry_feed *feed;
    spry_session *session;
    spry_trace *trace;
    spry_value **outputs;
    size_t output_bytes;
    double ms[MOST_RUNS];
    int32_t runs;
    /* What each operator takes alone. */
    const spry_profile_row *rows;
    int32_t row_count;
    double *alone; /* ms */
    int32_t next;  /* row of the next span, most likely */
    int64_t start; /* of the runs that the proxy looks at */
    interference proxy;
} beside;

static spry_status run_for(beside *b, double seconds, spry_error *error)
{
    int64_t begin = clock_ns();
    spry_status status = SPRY_OK;

    b->runs = 0;
    while (status == SPRY_OK && b->runs < MOST_RUNS &&
           (b->runs < LEAST_RUNS || (double)(clock_ns() - begin) * 1e-9 < seconds)) {
        int64_t start;
        int64_t end;

        status = bench_time_run(b->feed, b->session, b->outputs, &start, &end, error);
        b->ms[b->runs++] = (double)(end - start) * 1e-6;
    }
    return status;
}

static spry_status open_session(beside *b, const spry_model *m, const spry_session_options *asked,
                                spry_error *error)
{
    spry_session_options options = *asked;
    spry_status status = spry_trace_create(asked->allocator, &b->trace, error);

    b->output_bytes = ((size_t)spry_feed_output_count(b->feed) + 1) * sizeof *b->outputs;
    b->outputs = alloc_zeroed(spry_allocator_system(), b->output_bytes);
    if (status == SPRY_OK && b->outputs == NULL) {
        status = alloc_failed(error, b->output_bytes);
    }
    options.profile = true;
    options.trace = b->trace;
    if (status == SPRY_OK) {
        status = spry_session_create(m, &options, &b->session, error);
    }
    for (int i = 0; i < WARM_RUNS && status == SPRY_OK; i++) {
        int64_t ignored[2];

        status = bench_time_run(b->feed, b->session, b->outputs, &ignored[0], &ignored[1], error);
    }
    return status;
}

static spry_status keep_alone(beside *b, spry_error *error)
{
    b->row_count = spry_session_profile(b->session, &b->rows);
    b->alone = alloc_array(spry_allocator_system(), (size_t)b->row_count + 1, sizeof *b->alone);
    if (b->alone == NULL) {
        return alloc_failed(error, (size_t)b->row_count * sizeof *b->alone);
    }
    for (int32_t i = 0; i < b->row_count; i++) {
        b->alone[i] =
            b->rows[i].calls > 0 ? b->rows[i].milliseconds / (double)b->rows[i].calls : 0.0;
    }
    return SPRY_OK;
}

/* Operators run in the order of the rows, again and again. */
static void observe(void *context, const trace_seen *span)
{
    beside *b = context;

    if (span->start < b->start) {
        return;
    }
    for (int32_t i = 0; i < b->row_count; i++) {
        int32_t row = (b->next + i) % b->row_count;

        if (strcmp(b->rows[row].node, span->name) == 0) {
            b->next = (row + 1) % b->row_count;
            interference_observe(&b->proxy, span->end, (double)(span->end - span->start) * 1e-6,
                                 b->alone[row]);
            return;
        }
    }
}

static void close_session(beside *b)
{
    alloc_release(spry_allocator_system(), b->alone, ((size_t)b->row_count + 1) * sizeof *b->alone);
    alloc_release(spry_allocator_system(), b->outputs, b->output_bytes);
    spry_session_destroy(b->session);
    spry_trace_destroy(b->trace);
}

static spry_status measure_beside(beside *b, interfered *result, double seconds, spry_error *error)
{
    aggressor *other = NULL;
    spry_status status = aggressor_start(result->level, &other, error);

    if (status == SPRY_OK) {
        contention_open(&result->system);
        b->start = clock_ns();
        status = run_for(b, seconds, error);
        result->seconds = contention_read(&result->system, &result->counts);
        contention_close(&result->system);
    }
    aggressor_stop(other, &result->work);
    if (status == SPRY_OK) {
        result->runs = b->runs;
        result->beside_ms = bench_median(b->ms, (size_t)b->runs);
        trace_visit(b->trace, observe, b);
        result->slowdown = b->proxy.slowdown;
        result->proxy_level = interference_read(&b->proxy);
        result->pieces = b->proxy.pieces;
    }
    return status;
}

spry_status interfered_measure(const spry_model *m, const spry_feed *feed,
                               const spry_session_options *options, int level, double seconds,
                               interfered *result, spry_error *error)
{
    beside *b = alloc_zeroed(spry_allocator_system(), sizeof *b);
    spry_status status;

    *result = (interfered){.level = level};
    if (b == NULL) {
        return alloc_failed(error, sizeof *b);
    }
    b->feed = feed;
    status = open_session(b, m, options, error);
    if (status == SPRY_OK) {
        spry_session_profile_reset(b->session);
        status = run_for(b, seconds, error);
    }
    if (status == SPRY_OK) {
        result->alone_ms = bench_median(b->ms, (size_t)b->runs);
        status = keep_alone(b, error);
    }
    if (status == SPRY_OK) {
        status = measure_beside(b, result, seconds, error);
    }
    close_session(b);
    alloc_release(spry_allocator_system(), b, sizeof *b);
    return status;
}
