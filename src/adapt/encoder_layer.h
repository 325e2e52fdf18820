/* Layers of an encoder as BERT has them, found by what they compute:
 *
 *     u = LayerNorm(x + Attention(x, mask) W1 + b1)
 *     y = LayerNorm(u + Gelu(u W2 + b2) W3 + b3)
 *
 * with queries, keys and values from products of x with biases, and a mask that is added to the
 * scores and is the same for all heads and queries. */
#ifndef ADAPT_ENCODER_LAYER_H
#define ADAPT_ENCODER_LAYER_H

#include "adapt/rewrite.h"

/* Weights and bias of a product, values of the graph; weights are [inputs, outputs]. */
typedef struct encoder_pair {
    int32_t weight, bias;
} encoder_pair;

typedef struct encoder_layer {
    int32_t x, y;
    int32_t mask; /* [.., 1, T] with up to four axes, of which the first is the batch */
    encoder_pair q, k, v, out, norm1, up, down, norm2;
    int64_t hidden, inner, heads;
    double scale, epsilon; /* the scale of scores; of both norms */
} encoder_layer;

typedef struct encoder_layers {
    encoder_layer *items; /* each reads what the one before gives */
    int32_t count;
    const char *missing; /* what kept the first attention that is no layer from being one; NULL:
                            there is no attention */
} encoder_layers;

/* The layers of job->s, in order, in the job's memory. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status encoder_layers_find(rewrite *job, encoder_layers *found,
                                              spry_error *error);

#endif
