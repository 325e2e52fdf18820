/* Quantization written as ONNX: integers behind DequantizeLinear. */
#ifndef QUANTIZE_QDQ_H
#define QUANTIZE_QDQ_H

#include "quantize/grid.h"
#include "quantize/weights.h"

enum {
    QDQ_LEAST_OPSET = 13, /* the first with a step per channel */
    QDQ_BLOCK_OPSET = 21  /* the first with blocks, and with codes of four bits */
};

/* Codes of a weight in the initializer's order, with their grid: steps per channel of `axis`, or
 * per block of `block` elements along it. */
typedef struct qdq_codes {
    spry_dtype dtype; /* I8 or I4; `codes` is a byte each */
    const int8_t *codes;
    int axis;
    int64_t block; /* 0: per channel */
    int grid_rank;
    int64_t grid_shape[2];
    const float *steps;
    const int32_t *zeros; /* each a code of the type */
    bool symmetric;       /* zeros are all 0 and need not be written */
} qdq_codes;

/* Lets every operator that uses `w` in this layout read DequantizeLinear(codes) instead, each
 * through a node of its own, as runtimes expect. All data is copied. The graph must be sorted
 * afterwards. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status qdq_replace_weight(graph *g, const weight *w, const qdq_codes *codes,
                                             int32_t opset, spry_error *error);

/* Stores the constant f32 bias of `node` (Conv, ConvTranspose or Gemm) as i32 in steps of `step` x
 * steps[channel], as integer operators add it; it stays f32 where that does not fit. The graph must
 * be sorted afterwards. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status qdq_replace_bias(graph *g, int32_t node, float step, const float *steps,
                                           int64_t channels, int32_t opset, spry_error *error);

/* Lets every user of value `id` read it through QuantizeLinear and DequantizeLinear nodes, behind a
 * Clip where codes have fewer than 8 bits; or through TwinQuantize, whose function the model must
 * have (model/twin_function.h). Types must be inferred where the grid has `steps`. The graph must
 * be sorted afterwards. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status qdq_replace_activation(graph *g, int32_t id, const tensor_grid *grid,
                                                 int32_t opset, spry_error *error);

#endif
