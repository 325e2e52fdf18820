/* Spans of time, recorded anywhere and written as a Chrome trace, which Perfetto (ui.perfetto.dev)
 * and chrome://tracing show as a timeline.
 *
 *     int64_t start = trace_begin(trace);
 *     ... work ...
 *     trace_end(trace, start, "op", node->name, "1x64x56x56");
 *
 * A NULL trace costs one comparison. Any thread may record; what is recorded is kept in memory up
 * to a ceiling, after which spans are counted but dropped. */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdint.h>

#include "base/clock.h"
#include "spry/allocator.h"
#include "spry/status.h"
#include "spry/trace.h"

/* The library-internal spelling. */
typedef struct spry_trace trace;

/* Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status trace_create(const spry_allocator *allocator, trace **made,
                                       spry_error *error);
/* NULL is allowed. */
void trace_destroy(trace *t);

/* The start of a span, to be given to trace_end; 0 without a trace. */
static inline int64_t trace_begin(const trace *t)
{
    return t != NULL ? clock_ns() : 0;
}

/* Records a span from `start` until now on the calling thread. `category` groups spans and must be
 * a string constant; `name` and `detail` (may be NULL) are copied. */
void trace_end(trace *t, int64_t start, const char *category, const char *name, const char *detail);

/* As trace_end, for a span measured elsewhere: [start, end] in nanoseconds of clock_ns. */
void trace_span(trace *t, int64_t start, int64_t end, const char *category, const char *name,
                const char *detail);

/* Records that `name` has `value` from now on: drawn as a curve. */
void trace_counter(trace *t, const char *name, double value);

/* Names the calling thread in the timeline. */
void trace_name_thread(trace *t, const char *name);

/* Spans and counters dropped so far because the ceiling was reached or memory ran out. */
uint64_t trace_dropped(trace *t);

/* A span as it was recorded; texts live as long as the trace. */
typedef struct trace_seen {
    int64_t start, end; /* of clock_ns */
    int thread;         /* the system's number of it */
    const char *category, *name, *detail;
} trace_seen;

/* Shows every span recorded so far to `see`, in no certain order. Nobody may record meanwhile from
 * inside `see`. */
void trace_visit(trace *t, void (*see)(void *context, const trace_seen *span), void *context);

/* Writes all that is recorded, in order of time, replacing `path`. Fails with SPRY_IO,
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status trace_write(trace *t, const char *path, spry_error *error);

#endif
