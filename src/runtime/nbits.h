/* Weights of four or eight bits that stay so.
 *
 *     DequantizeLinear (constant weights of 4 or 8 bits) -> MatMul | Gemm
 *
 * becomes one node NBITS_TYPE in the domain NBITS_DOMAIN: its inputs are the first factor, codes,
 * scales and zero points (as DequantizeLinear holds them), then the bias; its attributes
 * NBITS_BLOCK (0: a scale per column, or one) and NBITS_TURNED (codes are [n][k]). A provider
 * executes it, as it does com.microsoft's MatMulNBits; such nodes exist in plans alone.
 * Dequantizing the weights instead would make four bytes of one, or eight. MatMulNBits that no
 * provider executes (an index of blocks) becomes a MatMul of f32, as dequantized
 * weights do. */
#ifndef RUNTIME_NBITS_H
#define RUNTIME_NBITS_H

#include "runtime/provider/provider.h"

#define NBITS_DOMAIN "ai.spry.nbits"
#define NBITS_TYPE "MatMul"
#define NBITS_BLOCK "spry_block"
#define NBITS_TURNED "spry_turned"

enum { NBITS_GRAPH_BIAS = 4, NBITS_GRAPH_PORTS = 5 };

/* Rewrites what it can in an inferred, sorted graph; leaves it sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status nbits_graph(graph *g, const spry_session_options *options,
                                      spry_error *error);

#endif
