/* Which activations are quantised: those that integer operators read. */
#ifndef QUANTIZE_ACTIVATIONS_H
#define QUANTIZE_ACTIVATIONS_H

#include "model/graph.h"

/* Activations of a graph, in its order. */
typedef struct activations {
    int32_t *values;
    int32_t
        *like; /* index into `values` of the one whose grid it shares (MaxPool, Reshape and others
                      that only move numbers), or its own index */
    int32_t count;
} activations;

/* Chooses values of an inferred, sorted graph; `is_integer[node]` tells which operators have had
 * their weights quantised. Arrays live in `memory`. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status activations_choose(const graph *g, const bool *is_integer, arena *memory,
                                             activations *chosen, spry_error *error);

#endif
