/* The products of a model: of activations with weights, and of two activations (attention). What a
 * search for steps looks at, one by one. */
#ifndef QUANTIZE_LAYERS_H
#define QUANTIZE_LAYERS_H

#include "quantize/job.h"

/* What makes the numbers of a product's first operand, seen through operators that move them. */
typedef enum layer_source {
    LAYER_ANYTHING,
    LAYER_SOFTMAX, /* in [0, 1] */
    LAYER_GELU     /* Gelu, Swish, HardSwish: down to -low, up to anything */
} layer_source;

typedef struct layer {
    int32_t node;
    int32_t a;      /* value: [rows...][k], for two activations [images][heads][rows][k] */
    int32_t b;      /* value: weights, or [images][heads][k][n] */
    int32_t output; /* value: the product, without a bias that follows */
    int32_t weight; /* index of job->weights; GRAPH_NONE: a product of two activations */
    int32_t like;   /* an earlier layer that reads the same `a`, whose grid counts; or GRAPH_NONE */
    int bits;       /* of activations */
    int64_t k, n;   /* n: of weights; 0 for two activations */
    int64_t heads; /* slices of `a` and `b` along axis 1 that have steps of their own; at least 1 */
    layer_source source;
    float low;
} layer;

typedef struct layers {
    layer *list;
    int32_t count;
} layers;

/* Finds the layers in the order of the graph, whose types are inferred: Gemm and MatMul whose
 * weights are quantised, and MatMul of two activations of rank 3 or 4. Memory is the job's.
 * Fails as the clean-up passes do. */
SPRY_MUST_USE spry_status layers_find(const quantize_job *job, layers *found, spry_error *error);

#endif
