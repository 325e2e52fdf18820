/* Where the tokens of a sequence are in the values that are made of it, and making room for more of
 * them: exporters write the length of the sequence into reshapes. */
#ifndef ADAPT_TOKENS_H
#define ADAPT_TOKENS_H

#include "adapt/rewrite.h"

/* For each value of job->s, the axes along which it has a token each, as bits; in `memory`. `start`
 * has its tokens along axis 1. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tokens_track(const rewrite *job, int32_t start, arena *memory,
                                       const uint8_t **axes, spry_error *error);

/* Shapes that reshapes up to value `end` (GRAPH_NONE: all) have written down get `longer` tokens
 * where they have those of `start`. Shapes that are computed follow by themselves. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tokens_stretch(rewrite *job, const uint8_t *axes, int32_t start,
                                         int32_t end, int64_t longer, spry_error *error);

#endif
