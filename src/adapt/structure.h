/* What a network is made of, found by what its operators compute: linear operators, the classifier,
 * blocks of attention and of MLPs with the sums that close them. Values are those of the graph that
 * was looked at. */
#ifndef ADAPT_STRUCTURE_H
#define ADAPT_STRUCTURE_H

#include "base/arena.h"
#include "model/graph.h"

/* A product with constant f32 weights. */
typedef struct structure_linear {
    int32_t product; /* value: the product */
    int32_t output;  /* value: with the bias that follows, or `product` */
    int32_t input, weight;
    int32_t bias; /* GRAPH_NONE: none */
    int64_t inputs, outputs;
    bool is_transposed; /* weights are [outputs][inputs] */
    bool is_conv;       /* weights are [outputs][inputs / group]...; `inputs` counts taps, too */
    bool is_plain;      /* without groups, factors or transposed inputs */
} structure_linear;

/* Columns of a linear operator's output that are, say, all queries. */
typedef struct structure_columns {
    int32_t linear; /* index; GRAPH_NONE: not found */
    int64_t first, count;
} structure_columns;

/* x + f(x): `stream` is x, `branch` what f gives, `sum` the result. */
typedef struct structure_residual {
    int32_t stream, branch, sum; /* values; GRAPH_NONE: not found */
} structure_residual;

typedef struct structure_attention {
    structure_columns q, k, v;
    int32_t projection; /* linear of the result; GRAPH_NONE: not found */
    structure_residual around;
} structure_attention;

typedef struct structure_mlp {
    int32_t up, down; /* linears; the first and the last */
    structure_residual around;
} structure_mlp;

typedef struct structure {
    structure_linear *linears;
    int32_t linear_count;
    int32_t *by_value; /* index + 1 of the linear whose product or output it is */
    int32_t head;      /* linear; GRAPH_NONE: not found */
    structure_attention *attentions;
    int32_t attention_count;
    structure_mlp *mlps;
    int32_t mlp_count;
} structure;

/* Looks at a graph whose nodes are sorted and whose types are known; what is found lives in
 * `memory`. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status structure_find(const graph *g, const graph_uses *uses, arena *memory,
                                         structure *found, spry_error *error);

/* The linear of which `id` is product or output; GRAPH_NONE: of none. */
int32_t structure_linear_of(const structure *found, int32_t id);

/* Value at input `port`; GRAPH_NONE when omitted or beyond the end. */
int32_t structure_input(const graph_node *n, int32_t port);
/* The f32 constant there with one axis of `count` > 1 elements, or `count` == 1 elements. */
bool structure_is_vector(const graph *g, int32_t id, int64_t count);

#endif
