/* Which keys the rounds of a filter leave to each query: from a real run, from a file of one, or
 * drawn. Heads follow each other as they are computed. */
#ifndef SIMULATE_ENERGON_TRACE_H
#define SIMULATE_ENERGON_TRACE_H

#include "base/arena.h"
#include "kernels/filter/filter.h"

typedef struct energon_head {
    int64_t queries, keys, size; /* size: elements of a key, and of a value */
    int64_t stored;              /* neighbours with the same number share keys and values */
    /* [queries][FILTER_ROUNDS]: keys that each round scores; the first scores all visible ones. */
    const int32_t *scored;
    const int64_t *begin; /* [queries + 1]: places in `kept` */
    const int32_t *kept;  /* survivors of all rounds, ascending */
} energon_head;

typedef struct energon_trace {
    arena memory;
    int rounds; /* of all heads, at most FILTER_ROUNDS */
    energon_head *heads;
    int64_t count, capacity;
} energon_trace;

void energon_trace_init(energon_trace *t);
void energon_trace_fini(energon_trace *t);

/* A head by its fates [queries][keys]: 0 where a key is hidden, else how many rounds it survived,
 * plus 1. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status energon_trace_add(energon_trace *t, const uint8_t *fate, int64_t queries,
                                            int64_t keys, int64_t size, int64_t stored, int rounds,
                                            spry_error *error);

/* Heads that keep each key with probability `keep`; a share `locality` (0 to 1) of the choices is
 * the query's before. Two rounds, the first of which keeps half of what the second looks for and
 * does not find. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status energon_trace_draw(energon_trace *t, int64_t heads, int64_t queries,
                                             int64_t keys, int64_t size, double keep,
                                             double locality, uint64_t seed, spry_error *error);

/* A file of spry run --survivors (spry/survivors.h). Fails with SPRY_BAD_INPUT (arrays that are
 * missing, of other types, or contradict each other: names the file and the array), SPRY_IO,
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status energon_trace_load(energon_trace *t, const char *path, spry_error *error);

#endif
