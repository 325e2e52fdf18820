/* A schedule put to the test: every flit moves, cycle by cycle, through routers that obey their
 * tables and know nothing else. */
#ifndef SIMULATE_METRO_REPLAY_H
#define SIMULATE_METRO_REPLAY_H

#include "simulate/metro/schedule.h"

/* A line of a router's table: in cycles [start, end), what came in through `inputs` (a bit per
 * direction of the router's own ports, METRO_INJECT among them) goes out over link `output`; more
 * than one input is added up. */
typedef struct metro_entry {
    int64_t start;
    int64_t end;
    int output;
    unsigned inputs;
} metro_entry;

typedef struct metro_program {
    metro_entry *entries; /* by start */
    size_t count;
    size_t capacity;
    int most_entries; /* of one router: */
    int fullest;
} metro_program;

/* The tables that a schedule needs; chunks that follow each other share an entry. To be given to
 * metro_program_fini in any case. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_program_make(const metro_schedule *s, metro_program *p,
                                             spry_error *error);
void metro_program_fini(metro_program *p);

typedef struct metro_replayed {
    int64_t finish;     /* cycle after the last flit's arrival */
    int64_t flit_links; /* flits times links */
} metro_replayed;

/* Injects as `s` says into routers with these tables. Fails with SPRY_INTERNAL (two flits on a
 * link, an entry without a flit, a flit without an entry, one lost, doubled or out of order),
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_replay(const metro_schedule *s, const metro_program *p,
                                       metro_replayed *result, spry_error *error);

#endif
