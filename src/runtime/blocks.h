/* Products and convolutions of bytes with weights whose scale changes from block to block of input
 * channels.
 *
 *     DequantizeLinear (bytes of one scale) ---------------------------------> Conv | MatMul | Gemm
 *     DequantizeLinear (constant codes, block_size) [-> Reshape] [-> Gather] -^
 *
 * becomes one node of the same name in the domain BLOCKS_DOMAIN, whose ports are below; attributes
 * of the operator stay. Reshape makes weights of convolutions of a matrix [outputs][inputs x taps],
 * and leaves matrices as they are; Gather puts reordered input channels back. A provider executes
 * such nodes; they exist in plans alone. */
#ifndef RUNTIME_BLOCKS_H
#define RUNTIME_BLOCKS_H

#include "runtime/provider/provider.h"

#define BLOCKS_DOMAIN "ai.spry.blocks"
#define BLOCKS_SIZE "spry_block"    /* elements along k that share a scale */
#define BLOCKS_AXIS "spry_k_axis"   /* of the codes, and of the scales */
#define BLOCKS_KERNEL "spry_kernel" /* ints: taps by axis, of convolutions */

enum {
    BLOCKS_X = 0, /* followed by its scale and zero point */
    BLOCKS_X_SCALE = 1,
    BLOCKS_X_ZERO = 2,
    BLOCKS_CODES = 3,
    BLOCKS_SCALES = 4,
    BLOCKS_PLACES = 5, /* i64: where each input channel is among the codes; omitted: as it is */
    BLOCKS_BIAS = 6,   /* f32, per output */
    BLOCKS_PORTS = 7
};

/* Rewrites what it can in an inferred, sorted graph; leaves it sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status blocks_graph(graph *g, const spry_session_options *options,
                                       spry_error *error);

#endif
