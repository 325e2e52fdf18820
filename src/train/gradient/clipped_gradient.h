/* Gradients clipped per example, by one forward and one backward pass over the batch.
 *
 *     loss -> D_k, the derivative by the output of each node k that reads a weight
 *     |g_i|^2 = sum over k of a norm that follows from the node's input and D_k alone
 *     c_i = counts_i min(1, limit / |g_i|)
 *     sum over i of c_i g_i
 *
 * The gradient of one example by a weight of k is small or large. Where it has no more numbers than
 * the example's input and D_k together (biases, norms, narrow products over many rows, most
 * convolutions), it is kept until the c_i are known, and the sum is that of kept gradients. Else it
 * is never held: for a product X W the squared norm is that of X_i^T D_i, made tile by tile, or
 * <X_i X_i^T, D_i D_i^T>: "ghost" norms (Li, Tramer, Liang, Hashimoto, arXiv 2110.05679, after
 * Goodfellow, arXiv 1510.01799), and the sum is the ordinary gradient with c_i D_k in place of D_k.
 * Convolutions see their examples as groups. */
#ifndef TRAIN_CLIPPED_GRADIENT_H
#define TRAIN_CLIPPED_GRADIENT_H

#include "model/graph.h"
#include "spry/status.h"

typedef struct clipped_request {
    int32_t loss;      /* one element: the SUM over the examples of their losses */
    int32_t counts;    /* f32 [batch]: 1 where an example counts, 0 where it only fills the batch */
    int64_t batch;     /* axis 0 of everything that is not a weight */
    double limit;      /* longest gradient of an example, over all weights together */
    const int32_t *of; /* weights: inputs of the graph */
    int32_t count;
} clipped_request;

/* As gradient_build: gradients[i] becomes the value of the clipped sum for of[i], GRAPH_NONE where
 * the loss does not depend on it. Each weight is read by one node, apart from what only moves its
 * numbers or, for MatMul, joins matrices of weights or puts zeros around them. All shapes are
 * static. Fails as gradient_build; with SPRY_UNSUPPORTED also where a node that reads a weight is
 * none of Conv, Gemm, MatMul, Add, Sub, Mul, LayerNormalization, BatchNormalization with running
 * statistics, Expand, or mixes examples, or two nodes read the same weight: the node is named. */
SPRY_MUST_USE spry_status clipped_gradient_build(graph *g, const clipped_request *r,
                                                 int32_t *gradients, spry_error *error);

#endif
