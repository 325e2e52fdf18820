/* How much others on the machine slow this one down, from its own times: what finished pieces of
 * work took over what they take alone. Needs no counters, so it works in any container; where it
 * runs, counters tell more (measure/contention.h). VELTAIR, arXiv 2201.06212, section on the
 * proxy; the boundaries are ours. */
#ifndef TUNE_TENANTS_INTERFERENCE_H
#define TUNE_TENANTS_INTERFERENCE_H

#include <stdint.h>

enum { INTERFERENCE_LEVELS = 5 };

/* Slowdowns at which levels 1, 2, 3 and 4 begin. */
extern const double interference_bounds[INTERFERENCE_LEVELS - 1];

/* 0 to 4. */
int interference_level(double slowdown);

typedef struct interference {
    double slowdown; /* exponentially weighted mean, of half-life INTERFERENCE_HALF_NS */
    int64_t seen_ns; /* of the last piece */
    int64_t pieces;  /* so far */
} interference;

enum { INTERFERENCE_HALF_NS = 50000000 };

/* Takes in a piece of work that finished at `now_ns` of a monotonic clock after `took` and takes
 * `alone` by itself, in the same unit, both above 0; others are ignored. A piece counts by the time
 * since the one before it; of pieces that end together the last one counts little. */
void interference_observe(interference *p, int64_t now_ns, double took, double alone);

/* The level now; 0 before anything was seen. */
int interference_read(const interference *p);

#endif
