/* What a network asks of an array of multipliers: its convolutions and matrix products, in order.
 *
 * A product is a convolution of one tap: M rows are M pixels of a line, K channels, N filters. */
#ifndef SIMULATE_LAYERS_H
#define SIMULATE_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "spry/model.h"

typedef struct simulate_layer {
    const char *name; /* of the node, or of its output */
    int64_t images;   /* of a batch; products that share no operand count as `groups` */
    int64_t in_height, in_width, channels;
    int64_t out_height, out_width, filters;
    int64_t kernel_height, kernel_width;
    int64_t stride_height, stride_width;
    int64_t dilation_height, dilation_width;
    int64_t groups; /* channels and filters are those of all groups */
    bool is_conv;
    /* What makes real operands of it (operands.h). */
    const char *left, *right, *result; /* names of the values */
    const char *bias;                  /* that `result` has besides, per filter; NULL: none */
    bool is_scaled;                    /* `result` is a multiple of the product (Gemm) */
    int64_t pad_top, pad_left;         /* of a convolution */
    bool left_is_flipped;              /* a product's operands are given transposed */
    bool right_is_flipped;
} simulate_layer;

typedef struct simulate_layers {
    arena memory;
    simulate_layer *items;
    int32_t count;
    int32_t left_out; /* nodes of other types: vector work */
} simulate_layers;

/* Of a model with a batch of one; other open sizes are chosen. Undo with simulate_layers_fini, also
 * after a failure. Fails with SPRY_UNSUPPORTED (none there, three-dimensional convolutions, sizes
 * that depend on the data; names the node), SPRY_BAD_INPUT (broken shapes), SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulate_layers_of_model(simulate_layers *l, const spry_model *m,
                                                   spry_error *error);
/* The same for `images` at a time, at least 1. */
void simulate_layers_batch(simulate_layers *l, int64_t images);
void simulate_layers_fini(simulate_layers *l);

/* Rows of the lowered matrix: output pixels of all images. */
int64_t simulate_layer_pixels(const simulate_layer *l);
/* Are they of equal sizes? Then they cost the same. */
bool simulate_layers_are_alike(const simulate_layer *a, const simulate_layer *b);
/* Multiply-adds. */
double simulate_layer_macs(const simulate_layer *l);

#endif
