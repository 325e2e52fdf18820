/* What the parts of integer_graph share. */
#ifndef RUNTIME_INTEGER_MATCH_H
#define RUNTIME_INTEGER_MATCH_H

#include "ops/op.h"
#include "runtime/integer/integer.h"

/* A tensor of quantised numbers: what a DequantizeLinear reads. */
typedef struct quantised {
    int32_t data, scale, zero; /* values; `zero` may be GRAPH_NONE */
    int64_t axis;              /* of several scales */
} quantised;

/* The pass at work. */
typedef struct integer_pass {
    graph *g;
    const graph_uses *uses; /* from before the pass */
    int32_t value_count;    /* then */
    const spry_session_options *options;
    spry_error *error;
} integer_pass;

/* What defines integer nodes. */
extern const op integer_op;

/* The constant at input `port`, or NULL. */
const tensor *integer_constant(const graph *g, const graph_node *n, int32_t port);

/* A standard DequantizeLinear or QuantizeLinear with constant f32 scales that are not blocked, and
 * a constant zero point or none. */
bool integer_is_plain_linear(const graph *g, const graph_node *n, const char *type);

/* What the value was dequantised from; false when it was not. */
bool integer_read_quantised(const graph *g, int32_t id, quantised *q);

/* Computed bytes with one scale. */
bool integer_read_activation(const graph *g, int32_t id, quantised *q);

/* The only node that reads the value, which is from before the pass, or GRAPH_NONE. */
int32_t integer_only_user(const integer_pass *p, int32_t id);

/* A new DequantizeLinear, like the one that `q` was read from, of `bytes`; it makes `result`. */
SPRY_MUST_USE spry_status integer_add_dequantize(integer_pass *p, int32_t like, const quantised *q,
                                                 int32_t bytes, int32_t result);

/* A QuantizeLinear to bytes of one scale: makes it a node that computes what stands before it from
 * bytes to bytes, where it can (bytes.c). */
SPRY_MUST_USE spry_status integer_bytes_at(integer_pass *p, int32_t node);

/* Moves the node, if it gives back elements of its input, before the DequantizeLinear that it
 * follows; *moved says whether (move.c). */
SPRY_MUST_USE spry_status integer_move_at(integer_pass *p, int32_t node, bool *moved);

#endif
