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
    int64_t seen_ns; /* of the last reading */
    int64_t pieces;  /* so far */
    int64_t readings;
    double took_ms, alone_ms; /* of pieces since the last reading */
} interference;

enum { INTERFERENCE_HALF_NS = 50000000 };
#define INTERFERENCE_LEAST_MS 0.7

/* Takes in a piece of work that finished at `now_ns` of a monotonic clock after `took_ms` and takes
 * `alone_ms` by itself, both above 0; others are ignored. Pieces gather until they take
 * INTERFERENCE_LEAST_MS alone: a pause that hits one of some microseconds says nothing about it. A
 * reading counts by the time since the one before. */
void interference_observe(interference *p, int64_t now_ns, double took_ms, double alone_ms);

/* The level now; 0 before anything was seen. */
int interference_read(const interference *p);

#endif
