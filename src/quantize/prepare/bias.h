/* Adding numbers to the outputs of a layer, where it has a bias and where it has none. */
#ifndef QUANTIZE_BIAS_H
#define QUANTIZE_BIAS_H

#include "quantize/weights.h"

/* The constant that `node` (Conv, ConvTranspose, Gemm, or MatMul with an Add behind it) adds to its
 * outputs, one number each, or NULL. *holder is the node that reads it, *port where. */
const tensor *bias_of(const graph *g, const graph_uses *uses, int32_t node, int64_t outputs,
                      int32_t *holder, int32_t *port);

/* The value that holds the outputs with their bias: of `node`, or of the Add behind it. */
int32_t bias_result(const graph *g, const graph_uses *uses, int32_t node, int64_t outputs);

/* Adds delta[outputs] to the outputs of `node`, which uses weights. A new constant takes the place
 * of the old one, which others may read. A MatMul without a bias (or a Gemm with one of another
 * shape) gets an Add node behind it, which takes over its result: the graph must then be sorted.
 * Once per node with the same `uses`, which may be older than what calls for other nodes have
 * changed. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status bias_add(graph *g, const graph_uses *uses, int32_t node, int64_t outputs,
                                   const double *delta, spry_error *error);

#endif
