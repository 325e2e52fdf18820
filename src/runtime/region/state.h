/* What the files of the provider of regions share: layers as they are planned, and one run. */
#ifndef RUNTIME_REGION_STATE_H
#define RUNTIME_REGION_STATE_H

#include "kernels/conv/conv_listed.h"
#include "kernels/conv/conv_winograd.h"
#include "kernels/elementwise/linear_s8.h"
#include "runtime/cache/packed.h"
#include "runtime/provider/integer.h"
#include "runtime/region/region.h"

/* An image between layers, with the padding that the layer after it reads. */
typedef struct region_image {
    int64_t rows, columns;
    int64_t top, left; /* padding before the image */
    int64_t channels;
    int64_t offset; /* in the workspace */
    int64_t bytes;  /* 0: there is none */
} region_image;

/* One of the ways to compute tiles by Winograd's method, with the layer's weights. */
typedef struct region_winograd {
    conv_winograd plan;   /* of the layer's `shape` */
    packed_memory packed; /* weights, and behind them a double: their relative error */
} region_winograd;

enum { REGION_WINOGRADS = 2 };

typedef struct region_layer {
    region_layer_node view;
    conv_f32_shape shape; /* of the image without its padding, one group */
    bool is_integer;
    bool is_flat;    /* pixels of all images are one line */
    region_image in; /* what it reads; without bytes it reads the region's input itself */
    conv_listed listed;
    packed_memory packed;
    int winograd_count;
    region_winograd winograd[REGION_WINOGRADS];
    brgemm_finish finish; /* of f32 */
    integer_node integer;
    integer_channels channels;
    int64_t room;       /* offset of the integers' offsets and factors */
    int64_t first_port; /* of the layer among the region's */
    int64_t mask;       /* offset of the mask of its results that are computed */
    pixel_tiling tiling;
} region_layer;

typedef struct region_state {
    spry_allocator allocator;
    int layer_count;
    region_layer layers[REGION_MOST_LAYERS];
    int64_t batch;
    int64_t channels; /* of the result */
    bool has_shortcut;
    bool keeps; /* REGION_KEEPS */
    bool is_bytes;
    float lower, upper;
    int64_t mask_images, mask_rows, mask_columns; /* of REGION_MASK */
    int32_t *from; /* row of the mask for each row of the result, then columns */
    size_t from_bytes;
    /* Workspace: offsets of masks, lists, and what kernels want. */
    int64_t x_mask, covered, reached, tiles, spots, winograd_tiles, own;
    int64_t workspace_bytes;
    double density; /* of the last run: share of the result's pixels that were computed */
} region_state;

/* What becomes of the last layer's bytes (is_bytes). */
typedef struct region_bytes {
    const region_state *s;
    const linear_s8_kernel *kernel;
    linear_s8_grid grid, other_grid;
    float y_scale;
    quantize_target y_target;
    const uint8_t *other; /* shortcut, or NULL */
    uint8_t *y;
    uint8_t table[256]; /* of shortcut bytes where nothing is added */
} region_bytes;

static inline const conv_f32_shape *region_result(const region_state *s)
{
    return &s->layers[s->layer_count - 1].shape;
}

/* Plans the ways that may be cheaper than the direct sum, where the mask's cells are `cell` pixels
 * wide. */
void region_plan_winograd(const conv_nhwc_problem *problem, int64_t cell, region_layer *l);

/* Packs `weights` for them; drops those that make results inexact. Fails with SPRY_LIMIT (memory).
 */
SPRY_MUST_USE spry_status region_pack_winograd(const provider_site *site, const float *weights,
                                               region_layer *l, spry_error *error);

/* Computes what the mask wants: the provider's run. */
SPRY_MUST_USE spry_status region_run(region_state *s, op_call *call, void *workspace);

#endif
