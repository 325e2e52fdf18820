/* Somebody else's work, made up: a thread that streams through memory and follows pointers at
 * random, so as to take bandwidth and cache from whoever is measured beside it. */
#ifndef MEASURE_AGGRESSOR_H
#define MEASURE_AGGRESSOR_H

#include "spry/status.h"

enum { AGGRESSOR_LEVELS = 5 };

typedef struct aggressor aggressor;

typedef struct aggressor_work {
    int cpu;          /* that it is bound to; -1: it could not be bound */
    double gigabytes; /* streamed per second, as STREAM counts them */
    double steps;     /* along pointers, per second */
    double share;     /* of the time that it worked */
} aggressor_work;

/* Starts it on the last CPU that this process may use, at `level` fifths of its time, 1 to
 * AGGRESSOR_LEVELS; a level of 0 gives NULL. Ends with aggressor_stop. Fails with SPRY_USAGE
 * (level), SPRY_LIMIT (memory, threads). */
SPRY_MUST_USE spry_status aggressor_start(int level, aggressor **made, spry_error *error);
/* NULL is allowed; `work` may be NULL. */
void aggressor_stop(aggressor *a, aggressor_work *work);

#endif
