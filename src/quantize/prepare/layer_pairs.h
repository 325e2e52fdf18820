/* Layers with weights that follow each other with nothing between but functions with f(t x) = t
 * f(x) for t > 0, ReLU among them, that keep channels apart: channel c of the first may be divided
 * by any t > 0 and the same input of the second multiplied by it. */
#ifndef QUANTIZE_LAYER_PAIRS_H
#define QUANTIZE_LAYER_PAIRS_H

#include "quantize/weights.h"

/* A layer, and what its weights are to be multiplied by. */
typedef struct pair_layer {
    weight w; /* outputs 0: no layer that can be in a pair */
    int64_t groups;
    float *peaks;          /* [outputs][inputs]: largest weight over the taps */
    double *rows, *inputs; /* [outputs], [groups x inputs]: factors */
    bool is_changed;
} pair_layer;

typedef struct layer_pair {
    int32_t first, second; /* nodes; outputs of the first are as many as inputs of the second */
} layer_pair;

typedef struct layer_pairs {
    graph *g;
    arena memory;
    graph_uses uses;
    pair_layer *layers; /* per node */
    layer_pair *list;   /* in the order of the graph */
    int32_t count;
} layer_pairs;

/* All pairs of `g`, which is sorted. Release with layer_pairs_release, also after a failure. Fails
 * with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layer_pairs_find(graph *g, layer_pairs *found, spry_error *error);
void layer_pairs_release(layer_pairs *found);

/* The largest |weight|, times its factors, of an output channel and of an input channel. */
double layer_pairs_output(const pair_layer *l, int64_t output);
double layer_pairs_input(const pair_layer *l, int64_t channel);

/* Divides channel `c` by t and takes it back: factors alone change. */
void layer_pairs_share(layer_pairs *found, const layer_pair *pair, int64_t c, double t);

/* Factors become part of weights and biases. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layer_pairs_write(layer_pairs *found, spry_error *error);

#endif
