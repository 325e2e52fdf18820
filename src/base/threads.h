/* A team of threads that share loops.
 *
 * Work is split by problem size only (never by the number of threads), so results do not depend on
 * the team's size. Idle members spin for some tenths of a millisecond, then sleep: an idle process
 * uses no CPU. A team may be split into sub-teams for callers that run side by side. */
#ifndef BASE_THREADS_H
#define BASE_THREADS_H

#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct threads threads;

/* Called for a range [begin, end) of the loop; `worker` is in [0, threads_count(team)) and unique
 * among the calls running at one time, for per-worker scratch memory. */
typedef void (*threads_body)(void *context, int64_t begin, int64_t end, int worker);

/* CPUs this process may use: affinity mask and cgroup quota (v1 and v2) considered; at least 1. */
int threads_available(void);

/* A team of `count` threads, the caller included; 0 means threads_available(). When the system
 * grants fewer threads the team is smaller.
 * Fails with SPRY_USAGE (count < 0 or > 1024), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status threads_create(const spry_allocator *allocator, int count, threads **team,
                                         spry_error *error);
/* Ends the team's threads; NULL is allowed. */
void threads_destroy(threads *team);

/* A team of one, without threads, locks or memory: shared by everybody. */
threads *threads_single(void);

/* Members, the caller included, that loops may have: fixed for the team's life, also while some are
 * lent, but for threads_limit. */
int threads_count(const threads *team);

/* From now on loops are shared by at most `most` members, the others having nothing to do (0: all
 * take part again), and threads_count says so. Called by the thread that runs the team's loops. */
void threads_limit(threads *team, int most);

/* Runs `body` over [0, count) in pieces of `grain` iterations (the last may be shorter); each piece
 * is one call. Returns when all are done. May be called by one thread at a time per team; calls
 * from inside a body run on the calling thread alone. */
void threads_for(threads *team, int64_t count, int64_t grain, threads_body body, void *context);

/* Between the two, members that have nothing to do wait awake (for two milliseconds each time), so
 * that the next loop starts at once: for whoever runs many loops in a row. Threads that outnumber
 * the CPUs sleep all the same. Called by the thread that runs the team's loops. */
void threads_engage(threads *team);
void threads_rest(threads *team);

/* Lends `count` members (1 to all but one of those now here) of `team` to a new team for another
 * caller, who counts as one of them; they return when the sub-team is destroyed, which must happen
 * before `team` is and may happen while `team` runs a loop.
 * Fails with SPRY_USAGE, SPRY_LIMIT. */
SPRY_MUST_USE spry_status threads_split(threads *team, int count, threads **part,
                                        spry_error *error);

#endif
