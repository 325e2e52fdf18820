/* When what leaves, so that no two flits ever want one link: the network needs no arbitration. */
#ifndef SIMULATE_METRO_SCHEDULE_H
#define SIMULATE_METRO_SCHEDULE_H

#include "simulate/metro/tree.h"

enum { METRO_CHUNKS_MOST = 1 << 20 };

/* What says whose flits these are. */
typedef enum metro_headers {
    METRO_HEADERS_NONE,   /* nothing: routers know by the clock */
    METRO_HEADERS_CHUNK,  /* a flit before each chunk */
    METRO_HEADERS_PACKET, /* one before every METRO_PAYLOAD, as packets have */
    METRO_HEADERS_COUNT
} metro_headers;

enum { METRO_PAYLOAD = 8 }; /* flits of a packet beside its header */

typedef struct metro_options {
    int flit_bits;         /* 8 to 65536 */
    int chunk_flits;       /* scheduled together, headers not counted; at least 1 */
    metro_headers headers; /* none unless set */
} metro_options;

/* A chunk of a flow enters its tree at `start`. */
typedef struct metro_injection {
    int flow;
    int64_t start;
    int64_t flits;
} metro_injection;

/* Cycles [start, end) of a link. */
typedef struct metro_interval {
    int64_t start;
    int64_t end;
} metro_interval;

typedef struct metro_reservations {
    metro_interval *items; /* sorted, apart */
    size_t count;
    size_t capacity;
} metro_reservations;

typedef struct metro_progress metro_progress;

typedef struct metro_schedule {
    const metro_flows *flows;
    metro_options options;
    arena memory;
    const metro_tree **trees; /* by flow */
    metro_progress *progress; /* by flow */
    metro_injection *items;   /* in the order of scheduling; a flow's chunks in theirs */
    size_t count;
    size_t capacity;
    metro_reservations *links; /* by link */
    int link_count;
    int64_t makespan;
    int64_t bound;     /* that no schedule with these trees can beat; of metro_schedule_make */
    int64_t tardiness; /* cycles after `due`, over all flows */
    int64_t flit_links;
} metro_schedule;

/* Flits that a flow has to carry, and with its headers. */
int64_t metro_payload(const metro_options *options, const metro_flow *flow);
int64_t metro_flits(const metro_options *options, const metro_flow *flow);
/* Flits of a whole chunk, with its headers. */
int64_t metro_chunk(const metro_options *options);

/* Schedules chunk by chunk, least slack first, each as early as its links allow. `routes` by flow.
 * With `order` (a rank by flow) flows go one after the other in that order instead. On success and
 * failure alike to be given to metro_schedule_fini. Fails with SPRY_USAGE (an option), SPRY_LIMIT.
 */
SPRY_MUST_USE spry_status metro_schedule_make(const metro_flows *flows,
                                              const metro_options *options,
                                              const metro_route *routes, const int64_t *order,
                                              metro_schedule *s, spry_error *error);
void metro_schedule_fini(metro_schedule *s);

/* The same in two steps, for those who schedule the same flows many times: trees that stay with the
 * caller, as long as the schedule, and what was there before is given up. Fail as above. */
SPRY_MUST_USE spry_status metro_schedule_init(const metro_flows *flows,
                                              const metro_options *options, metro_schedule *s,
                                              spry_error *error);
SPRY_MUST_USE spry_status metro_schedule_again(metro_schedule *s, const metro_tree *const *trees,
                                               const int64_t *order, spry_error *error);

/* ---- for those who place flows themselves ---- */

/* The earliest start from `t` on at which every link of the tree is free for `flits` cycles. */
int64_t metro_earliest(const metro_schedule *s, const metro_tree *tree, int64_t t, int64_t flits);
/* Takes [start, end), which is free; gives back what was taken. Fail with SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_reserve(metro_reservations *r, int64_t start, int64_t end,
                                        spry_error *error);
SPRY_MUST_USE spry_status metro_release(metro_reservations *r, int64_t start, int64_t end,
                                        spry_error *error);

#endif
