/* Residual blocks of convolutional networks, found by what they compute:
 *
 *     x -> Conv -> Relu -> Conv [-> Relu -> Conv] -> + -> Relu -> y
 *     x ------------- shortcut ---------------------^
 *
 * The branch may be masked: multiplied by what a Resize lays over its map (spatial_function.h).
 * The shortcut is x itself or any line of operators from it: a projection, slices and paddings.
 * Values are those of the graph that was looked at. */
#ifndef ADAPT_SPATIAL_BLOCK_H
#define ADAPT_SPATIAL_BLOCK_H

#include "base/arena.h"
#include "model/graph.h"

enum { SPATIAL_CONVS = 3 };

typedef struct spatial_block {
    int32_t x, shortcut, sum, y;
    int32_t map;                     /* the mask over the branch's map; GRAPH_NONE: it has none */
    int32_t convs[SPATIAL_CONVS];    /* results of the convolutions, in order */
    int conv_count;                  /* 2: basic, 3: bottleneck */
    bool is_grouped;                 /* a convolution has several groups */
    int64_t channels;                /* of x */
    int64_t from_height, from_width; /* of x */
    int64_t height, width;           /* of y */
    int64_t stride;                  /* x is so many times as high and wide, the last rest cut */
    int stage;                       /* from 0; a new one begins where the map changes its size */
} spatial_block;

typedef struct spatial_blocks {
    spatial_block *items;
    int32_t count;
    int stage_count;
} spatial_blocks;

/* The blocks of `g`, whose nodes are sorted and whose types are known, in the order of their nodes,
 * in `memory`. None is no failure. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status spatial_blocks_find(const graph *g, const graph_uses *uses, arena *memory,
                                              spatial_blocks *found, spry_error *error);

/* The convolution that computes `id`, if it is over images in f32 with constant weights; or NULL.
 */
const graph_node *spatial_conv(const graph *g, int32_t id);
/* The value comes from `x` along one line of operators, or is `x`. The work of convolutions on the
 * way, in multiply-accumulates, is added to *macs. */
bool spatial_comes_from(const graph *g, int32_t id, int32_t x, double *macs);
/* Multiply-accumulates of the convolution whose result is `id`, whose type is known. */
double spatial_conv_macs(const graph *g, int32_t id);

#endif
