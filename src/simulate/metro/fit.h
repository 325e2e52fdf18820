/* Schedules that fit into the tables of the routers. */
#ifndef SIMULATE_METRO_FIT_H
#define SIMULATE_METRO_FIT_H

#include "simulate/metro/replay.h"

/* As metro_schedule_make and metro_program_make, with at most `entries` lines in each router's
 * table (0: any number): while there are more, chunks get twice as long. The schedule's options say
 * how long they are. Undo both, also after a failure. Fails with SPRY_UNSUPPORTED (the longest
 * chunks still take too many; names the router), SPRY_USAGE, SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_schedule_fit(const metro_flows *flows, const metro_options *options,
                                             const metro_route *routes, const int64_t *order,
                                             int entries, metro_schedule *s, metro_program *p,
                                             spry_error *error);

#endif
