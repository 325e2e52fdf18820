/* The name table of a graph: name -> value id, open addressing, in the graph's arena. Split from
 * graph.c so that building, renaming and copying share one table. */
#ifndef MODEL_GRAPH_NAMES_H
#define MODEL_GRAPH_NAMES_H

#include "model/graph.h"

typedef struct graph_names {
    int32_t *slots;  /* value id + 1; 0: free */
    size_t capacity; /* a power of two */
    size_t count;
    uint64_t counter; /* last number given to a fresh name */
} graph_names;

/* Room for `count` names without growing. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status graph_names_reserve(graph *g, size_t count, spry_error *error);

/* Enters value `id`, whose name must not be in the table. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status graph_names_insert(graph *g, int32_t id, spry_error *error);

/* The slot that holds `name`, or NULL. */
int32_t *graph_names_slot(const graph *g, const char *name);

/* A name that the graph does not have yet, made from `base` (NULL: "value"), in the arena.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status graph_names_fresh(graph *g, const char *base, const char **name,
                                            spry_error *error);

#endif
