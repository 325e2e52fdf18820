/* The very best schedule of a few flows, to know how good the search is: branch and bound over all
 * orders of the flows and all their routes, as metro_schedule_make places them. */
#ifndef SIMULATE_METRO_EXACT_H
#define SIMULATE_METRO_EXACT_H

#include "simulate/metro/schedule.h"

enum { METRO_EXACT_FLOWS = 12 };

typedef struct metro_exact {
    metro_route *routes; /* by flow, in the memory given */
    int64_t *order;      /* by flow */
    int64_t makespan;    /* INT64_MAX when nothing better than `known` was found */
    bool is_proven;      /* nothing is better; false: the search ended at its limit */
    int64_t visited;     /* partial schedules */
} metro_exact;

/* Looks for schedules that end before `known` (INT64_MAX: none is known) and visits at most `most`
 * partial ones. With `is_proven` the best of all ends at the lesser of `known` and the makespan.
 * Fails with SPRY_USAGE (more than METRO_EXACT_FLOWS flows), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_exact_find(const metro_flows *flows, const metro_options *options,
                                           int64_t known, int64_t most, arena *memory,
                                           metro_exact *found, spry_error *error);

#endif
