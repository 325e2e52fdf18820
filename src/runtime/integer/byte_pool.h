/* Averages of bytes: DequantizeLinear -> AveragePool | GlobalAveragePool of channels-last images
 * reads the bytes, so that no image of floats is written and read in between. The pool's node gets
 * the scale and the zero point as inputs BYTE_POOL_SCALE and BYTE_POOL_ZERO (or GRAPH_NONE). Sums
 * are exact and rounded once. */
#ifndef RUNTIME_INTEGER_BYTE_POOL_H
#define RUNTIME_INTEGER_BYTE_POOL_H

#include "runtime/provider/provider.h"

enum { BYTE_POOL_SCALE = 1, BYTE_POOL_ZERO = 2, BYTE_POOL_PORTS = 3 };

/* In a graph that layout_graph is done with. Leaves it sorted, and DequantizeLinear nodes that
 * nothing reads any more. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status byte_pool_graph(graph *g, const spry_session_options *options,
                                          spry_error *error);

#endif
