/* The weights of a graph that can be quantised, whatever the operator's layout. */
#ifndef QUANTIZE_WEIGHTS_H
#define QUANTIZE_WEIGHTS_H

#include "model/graph.h"

enum { WEIGHTS_PORT = 1 }; /* input of Conv, ConvTranspose, Gemm and MatMul that holds weights */

/* An f32 initializer seen as [outputs][inputs][taps]. */
typedef struct weight {
    int32_t value;   /* the initializer */
    int32_t node;    /* the first operator that uses it so */
    int output_axis; /* of the initializer: where DequantizeLinear finds output channels */
    const tensor *source;
    int64_t outputs, inputs, taps;
    int64_t output_stride, input_stride; /* in elements; taps are adjacent */
} weight;

/* What an operator's weights look like. False, with the reason, when they cannot be quantised;
 * *reason is NULL when the operator has no weights at all. */
bool weight_of_node(const graph *g, int32_t node, weight *w, const char **reason);

static inline int64_t weight_count(const weight *w)
{
    return w->outputs * w->inputs * w->taps;
}

/* The weights of a product, not of a convolution. */
static inline bool weight_is_matrix(const weight *w)
{
    return w->source->rank == 2;
}

/* Copies the weights to dense[outputs][inputs][taps]. */
void weight_gather(const weight *w, float *dense);
/* The weights where they lie, when that is dense[outputs][inputs][taps]; else NULL. */
const float *weight_dense(const weight *w);
/* Copies codes[outputs][inputs][taps] to the initializer's order. */
void weight_scatter(const weight *w, const int8_t *codes, int8_t *to);

/* Fails with SPRY_BAD_INPUT when a weight is infinite or not a number, naming tensor and index. */
SPRY_MUST_USE spry_status weight_check(const graph *g, const weight *w, spry_error *error);

#endif
