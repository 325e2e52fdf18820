/* Maps of attention with patterns that are known: what features and clusters are tested with. */
#ifndef TESTS_PLANTED_H
#define TESTS_PLANTED_H

#include "inspect/heads_features.h"
#include "spry/random.h"

typedef enum planted_kind {
    PLANTED_PREVIOUS,
    PLANTED_NEXT,
    PLANTED_BAND, /* uniform up to distance 3 */
    PLANTED_SINK, /* 0.95 on the first key */
    PLANTED_UNIFORM,
    PLANTED_BLOCK,   /* uniform in the own segment */
    PLANTED_CONTENT, /* 0.8 on a key drawn per row and sequence */
    PLANTED_SELF,
    PLANTED_MIXED, /* half previous, half sink */
    PLANTED_KINDS
} planted_kind;

/* Rows of T keys, with a share of Dirichlet(1) noise. Segment 1 begins at `boundary`. */
void planted_map(planted_kind kind, int64_t tokens, int64_t boundary, double noise,
                 spry_random *random, double *map);

/* The survey of a map, by its definition, in memory of its own (planted_free). */
heads_view planted_view(const double *map, int64_t tokens, int64_t boundary);
void planted_free(heads_view *v);

#endif
