/* Timelines: what a session did when, for Perfetto (ui.perfetto.dev) or chrome://tracing.
 *
 *     spry_trace *trace = NULL;
 *     spry_status status = spry_trace_create(NULL, &trace, &error);
 *     options.trace = trace;                       // spry_session_options
 *     ... spry_session_create, spry_session_run ...
 *     status = spry_trace_write(trace, "trace.json", &error);
 *     spry_trace_destroy(trace);
 *
 * Several sessions and threads may record into one trace. What is recorded is kept in memory up to
 * a ceiling; what comes later is dropped. */
#ifndef SPRY_TRACE_H
#define SPRY_TRACE_H

#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_trace spry_trace;

/* Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_trace_create(const spry_allocator *allocator,
                                                     spry_trace **trace, spry_error *error);
/* After the sessions that record into it; NULL is allowed. */
SPRY_API void spry_trace_destroy(spry_trace *trace);

/* Spans dropped so far. */
SPRY_API uint64_t spry_trace_dropped(spry_trace *trace);

/* Writes what is recorded as Chrome trace JSON, replacing `path`. Fails with SPRY_IO,
 * SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_trace_write(spry_trace *trace, const char *path,
                                                    spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
