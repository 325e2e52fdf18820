/* How long the operators of a model take, told apart by name. */
#ifndef MEASURE_MIXED_LATENCY_H
#define MEASURE_MIXED_LATENCY_H

#include "spry/model.h"

/* Milliseconds of one run, batch 1, of the operators called names[i]: the least of several turns,
 * which neighbours on the machine disturb least; 0 where none is called so. *total is the whole
 * run's median without profiling. Fails as spry_session_create and spry_bench_session. */
SPRY_MUST_USE spry_status mixed_time_operators(const spry_model *m, int threads,
                                               const char *const *names, int32_t count, double *ms,
                                               double *total, spry_error *error);

/* The whole run only. */
SPRY_MUST_USE spry_status mixed_time_model(const spry_model *m, int threads, double *total,
                                           spry_error *error);

#endif
