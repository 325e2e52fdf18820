/* Which routes, and which order, end soonest: an evolutionary search over schedules.
 *
 * A candidate is a route per flow and an order of the flows. It is judged by scheduling it: by its
 * makespan, then by the flits it puts on links. The first candidates are what rules of thumb give
 * (all along rows, all along columns, in turns, each flow where links are least loaded; long flows
 * first, far ones first, both), so no result is worse than theirs. The same seed gives the same
 * result, whatever the number of threads. */
#ifndef SIMULATE_METRO_SEARCH_H
#define SIMULATE_METRO_SEARCH_H

#include "base/threads.h"
#include "simulate/metro/schedule.h"

typedef struct metro_search_options {
    int population;  /* 2 to 1024 */
    int generations; /* 0: only the rules of thumb */
    int patience;    /* generations without gain after which to stop */
    uint64_t seed;
    threads *team; /* NULL: the calling thread alone */
} metro_search_options;

/* 48, 60, 12, seed 1. */
metro_search_options metro_search_options_default(void);

typedef struct metro_found {
    metro_route *routes; /* by flow, in the memory given */
    int64_t *order;      /* by flow; NULL: least slack first is best */
    int64_t makespan;
    int64_t first;   /* makespan of the best rule of thumb */
    int64_t floor;   /* no schedule ends earlier, whatever the routes */
    int generations; /* that were run */
} metro_found;

/* Fails with SPRY_USAGE (an option), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_search(const metro_flows *flows, const metro_options *options,
                                       const metro_search_options *search, arena *memory,
                                       metro_found *found, spry_error *error);

/* The earliest end of any schedule with any routes: what must leave and reach single nodes. Scratch
 * from `memory`; 0 when there is none. */
int64_t metro_floor(const metro_flows *flows, const metro_options *options, arena *memory);

#endif
