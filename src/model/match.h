/* Questions that passes ask when they look for a known formula, from its last node backwards. */
#ifndef MODEL_MATCH_H
#define MODEL_MATCH_H

#include "model/graph.h"

/* The standard operator of that type that computes `id`, or NULL. */
const graph_node *match_producer(const graph *g, int32_t id, const char *type);
/* Is the value the f32 constant with one element, of rank 0 or 1? */
bool match_scalar(const graph *g, int32_t id, double *number);
/* Are they equal up to the rounding of a float or two? */
bool match_near(double number, double wanted);
/* The node has two inputs, one of which is `id`: the other; else GRAPH_NONE. */
int32_t match_other(const graph_node *n, int32_t id);
/* A node with a scalar constant as one of its two inputs: the other one, else GRAPH_NONE. */
int32_t match_beside_scalar(const graph *g, const graph_node *n, double *number);
/* Is the value a tensor of f32 with a known rank of at least one? */
bool match_is_f32(const graph *g, int32_t id);

/* Turns node `id` into another standard operator with those inputs and no attributes. What it read
 * before stays, for others or for pass_dead. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status match_become(graph *g, int32_t id, const char *type, int32_t opset,
                                       int32_t count, const int32_t *inputs, spry_error *error);

#endif
