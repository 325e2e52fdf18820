/* Integer execution of quantised graphs.
 *
 *     DequantizeLinear, DequantizeLinear -> Conv | MatMul | Gemm [-> + bias] [-> Relu | Clip]
 *                                        [-> QuantizeLinear]
 *
 * becomes one node in the domain INTEGER_DOMAIN that is called QLinearConv or QLinearMatMul and has
 * their ports (a bias as port INTEGER_BIAS, MatMul too), attributes of the float operator, and the
 * clamp of fuse.h as attributes. Without a QuantizeLinear its last ports are omitted and the result
 * is f32. Likewise two DequantizeLinear -> Add [-> Relu | Clip] -> QuantizeLinear becomes a
 * QLinearAdd with the ports of com.microsoft's. Operators that only move numbers (Reshape,
 * Transpose, MaxPool, ...) do so before DequantizeLinear instead of after it; a quantised Concat
 * puts bytes together. Chains of functions of one number between DequantizeLinear and
 * QuantizeLinear become one INTEGER_TABLE of 256 results, which the functions themselves have
 * computed; Softmax (with a factor before it) and LayerNormalization between them become
 * INTEGER_SOFTMAX and INTEGER_LAYER_NORM.
 *
 * A product whose first operand comes from TwinQuantize (ops/twin.h) becomes a QLinearMatMul that
 * reads the f32 numbers before it and has its attributes; one of heads with a step each becomes one
 * whose scales are several. Results of both are f32.
 *
 * MatMulInteger or ConvInteger [-> + integers per channel] -> Cast -> Mul by both scales, as
 * dynamic quantisation writes them (and static one, in operators of integers), become the same
 * nodes; a QuantizeLinear that follows is taken in where the scales are constant.
 *
 * Only nodes that a provider executes become integer nodes, so they never reach a reference kernel;
 * they exist in plans alone. Results are those of the same operators in real numbers, rounded once
 * to the result's scale: they differ from f32 on dequantised values where that rounds otherwise. */
#ifndef RUNTIME_INTEGER_INTEGER_H
#define RUNTIME_INTEGER_INTEGER_H

#include "runtime/provider/provider.h"

#define INTEGER_DOMAIN "ai.spry.integer"
#define INTEGER_TABLE "Table"                          /* bytes, bytes[256] -> bytes */
#define INTEGER_SOFTMAX "QLinearSoftmax"               /* of the last axis; ports below */
#define INTEGER_LAYER_NORM "QLinearLayerNormalization" /* W: gamma, W + 1: beta; epsilon */
#define INTEGER_FACTOR "spry_factor"                   /* float: multiplies the input; absent: 1 */

enum {
    INTEGER_X = 0, /* each followed by its scale and zero point */
    INTEGER_W = 3,
    INTEGER_Y_SCALE = 6,
    INTEGER_Y_ZERO = 7,
    INTEGER_BIAS = 8, /* i32, in steps of x scale x w scale; f32 where the result is */
    INTEGER_PORTS = 9
};

/* Rewrites what it can in an inferred, sorted graph; leaves it sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status integer_graph(graph *g, const spry_session_options *options,
                                        spry_error *error);

#endif
