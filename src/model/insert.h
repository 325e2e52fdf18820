/* Adding constants and nodes to a graph that becomes a file. Names are made of what they belong to:
 * BASE_SUFFIX, or something like it. Each fails with SPRY_LIMIT (memory). */
#ifndef MODEL_INSERT_H
#define MODEL_INSERT_H

#include "model/graph.h"

/* A constant with a copy of `data`. */
SPRY_MUST_USE spry_status insert_constant(graph *g, const char *base, const char *suffix,
                                          spry_dtype dtype, int rank, const int64_t *shape,
                                          const void *data, int32_t *value, spry_error *error);

/* One code per byte, int8, as a constant of `dtype`: I8, or I4, two in a byte. */
SPRY_MUST_USE spry_status insert_codes(graph *g, const char *base, const char *suffix,
                                       spry_dtype dtype, int rank, const int64_t *shape,
                                       const int8_t *codes, int32_t *value, spry_error *error);

/* A node of one result, with these inputs (GRAPH_NONE omits one), at the end of the array. */
typedef struct insert_node_of {
    const char *type;
    const char *domain; /* NULL: "" */
    int32_t opset;
    const char *base, *suffix; /* of its name and its result's */
    int32_t inputs[6];
    int32_t input_count;
} insert_node_of;
SPRY_MUST_USE spry_status insert_node(graph *g, const insert_node_of *what, int32_t *node,
                                      int32_t *result, spry_error *error);

/* Sets input `port`, which may lie behind the last one. */
SPRY_MUST_USE spry_status insert_input(graph *g, int32_t node, int32_t port, int32_t value,
                                       spry_error *error);

/* Drops the attribute, if the node has it. */
void insert_drop_attribute(graph *g, int32_t node, const char *name);

#endif
