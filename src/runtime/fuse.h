/* Fused operators: what follows a convolution or product is done while its results are in
 * registers.
 *
 *     Conv | MatMul | Gemm  ->  [+ bias]  ->  [+ residual]  ->  [Relu | Clip | activation]
 *
 * becomes one node in the domain FUSE_DOMAIN that keeps the operator's name, inputs and attributes,
 * with the residual as input FUSE_RESIDUAL and the clamp or the activation as attributes. Only
 * nodes that a provider executes are fused, so fused nodes never reach a reference kernel; they
 * exist in plans alone. */
#ifndef RUNTIME_FUSE_H
#define RUNTIME_FUSE_H

#include "runtime/provider/provider.h"

#define FUSE_DOMAIN "ai.spry.fused"
#define FUSE_LOWER "spry_lower" /* float; absent: no clamp */
#define FUSE_UPPER "spry_upper"
#define FUSE_ACTIVATION "spry_activation" /* string: a name of runtime/activation.h */

enum { FUSE_BIAS = 2, FUSE_RESIDUAL = 3 };

/* Fuses what it can in an inferred, sorted graph; leaves it sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status fuse_graph(graph *g, const spry_session_options *options,
                                     spry_error *error);

/* Fuses activations that have formulas of their own into what fuse_graph has left plain or fused.
 * Whether a provider can depends on the layout, so this comes after layout_graph.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status fuse_activations(graph *g, const spry_session_options *options,
                                           spry_error *error);

#endif
