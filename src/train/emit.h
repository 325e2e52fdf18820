/* Adds nodes to a graph, one line each. The first failure is kept and turns all further calls into
 * nothing, so that a formula can be written without a test after every term. */
#ifndef TRAIN_EMIT_H
#define TRAIN_EMIT_H

#include "model/graph.h"

enum { EMIT_OPSET = 18 };     /* of the standard operators that are added */
#define EMIT_DOMAIN "ai.spry" /* of those that the standard lacks (ops/gradient.c) */

typedef struct emitter {
    graph *g;
    const char *name; /* given to all nodes; lives as long as the graph */
    spry_status status;
    spry_error *error;
} emitter;

/* All return the id of a new value, GRAPH_NONE once something has failed. */

/* A standard operator with one output. Inputs may be GRAPH_NONE: omitted. */
int32_t emit_node(emitter *e, const char *type, int32_t count, const int32_t *inputs);
int32_t emit_unary(emitter *e, const char *type, int32_t a);
int32_t emit_binary(emitter *e, const char *type, int32_t a, int32_t b);
int32_t emit_where(emitter *e, int32_t condition, int32_t a, int32_t b);
/* An operator of EMIT_DOMAIN with `output_count` outputs, put into `outputs`. Returns the first. */
int32_t emit_own(emitter *e, const char *type, int32_t count, const int32_t *inputs,
                 int32_t output_count, int32_t *outputs);
/* A standard operator with several outputs, put into `outputs`. */
void emit_many(emitter *e, const char *type, int32_t count, const int32_t *inputs,
               int32_t output_count, int32_t *outputs);

/* Attributes of the node that computes `id`. */
void emit_set_int(emitter *e, int32_t id, const char *name, int64_t number);
void emit_set_ints(emitter *e, int32_t id, const char *name, int64_t count, const int64_t *numbers);
void emit_set_float(emitter *e, int32_t id, const char *name, float number);
/* Those of `node` as well, without its bodies. */
void emit_set_like(emitter *e, int32_t id, const graph_node *node);

/* Constants: one number of rank 0; lists of rank 1. */
int32_t emit_number(emitter *e, spry_dtype dtype, double number);
int32_t emit_numbers(emitter *e, spry_dtype dtype, int64_t count, const double *numbers);
int32_t emit_ints(emitter *e, int64_t count, const int64_t *numbers);
/* `a` times, plus, to the power of a number, in the element type `dtype`. */
int32_t emit_scaled(emitter *e, spry_dtype dtype, int32_t a, double factor);
int32_t emit_plus(emitter *e, spry_dtype dtype, int32_t a, double number);
int32_t emit_cast(emitter *e, int32_t a, spry_dtype dtype);

/* The shape of `like`, whose type is known, as integers: a constant where it is static. */
int32_t emit_shape(emitter *e, int32_t like);
/* Its size along `axis`, of rank 1. */
int32_t emit_size(emitter *e, int32_t like, int axis);
/* `a` with the shape of `like`: with the same elements, repeated by broadcasting, summed where
 * broadcasting to the type `from` of `a` had repeated. */
int32_t emit_reshape_like(emitter *e, int32_t a, int32_t like);
int32_t emit_expand_like(emitter *e, int32_t a, int32_t like);
int32_t emit_sum_to(emitter *e, int32_t a, const graph_type *from, int32_t like);
int32_t emit_zeros_like(emitter *e, int32_t like);

int32_t emit_reshape(emitter *e, int32_t a, int64_t count, const int64_t *shape);
int32_t emit_transpose(emitter *e, int32_t a, int rank, const int64_t *permutation);
/* The last two axes of `rank` exchanged. */
int32_t emit_transpose_matrix(emitter *e, int32_t a, int rank);
/* A reduction such as ReduceSum over `axes`. */
int32_t emit_reduce(emitter *e, const char *type, int32_t a, int64_t count, const int64_t *axes,
                    bool keep);

#endif
