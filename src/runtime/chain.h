/* Following a result to the nodes that can be done in the same breath: what fusing has in common
 * with integer execution. */
#ifndef RUNTIME_CHAIN_H
#define RUNTIME_CHAIN_H

#include "model/graph.h"
#include "ops/op.h"

/* The end of a chain of nodes, as far as it has been followed. */
typedef struct chain_end {
    int32_t result; /* value */
    float lower, upper;
    bool is_clamped;
} chain_end;
/* Value at input `port`; GRAPH_NONE when omitted or beyond the end. */
int32_t chain_input(const graph_node *n, int32_t port);

/* The only node that reads value `id`, if it has one output, or GRAPH_NONE. `uses` may be from
 * before nodes were removed. */
int32_t chain_only_user(const graph *g, const graph_uses *uses, int32_t id);

/* True, with the bounds in `end`, when `n` clamps the end's result: Relu, or Clip to constants. */
bool chain_take_clamp(const graph *g, const graph_node *n, chain_end *end);

/* Writes the bounds as attributes (fuse.h) of a node. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status chain_set_clamp(graph *g, int32_t node, const chain_end *end,
                                          spry_error *error);

/* What nodes that exist in plans alone are defined by. Their kernel is never asked, since a
 * provider executes them; their work is that of the standard operator of their name. */
spry_status chain_refuse_to_run(op_call *call);
void chain_cost(const op_work *w, int64_t *macs, int64_t *flops);

#endif
