/* The transforms of conv_winograd.h between pixels and the points where products are made: one tile
 * a call, a vector of channels at a time. */
#ifndef KERNELS_CONV_CONV_WINOGRAD_TRANSFORMS_H
#define KERNELS_CONV_CONV_WINOGRAD_TRANSFORMS_H

#include <stdint.h>

#include "kernels/isa.h"

/* Rows of 16 floats keep transformed windows and products aligned whatever the vector. */
enum {
    WINOGRAD_MOST_WINDOW = 6,
    WINOGRAD_MOST_SIZE = 4,
    WINOGRAD_LANES = 16,
    WINOGRAD_MOST_PANEL = 64
};

/* The window of a tile. */
typedef struct winograd_window {
    /* The channels of each pixel, row by row; those outside the image point to `channels` zeros. */
    const float *pixels[WINOGRAD_MOST_WINDOW * WINOGRAD_MOST_WINDOW];
    int64_t channels;
    float *to; /* the first position's channels; whole vectors of WINOGRAD_LANES are written */
    int64_t step;
} winograd_window;

/* What becomes of the products of a tile. */
typedef struct winograd_tile {
    const float *from; /* the first position's channels */
    int64_t step;
    int64_t channels;
    int rows, columns; /* of the tile that lie in the image */
    float *y;          /* the first pixel */
    int64_t row_pitch, pixel_pitch;
    const float *bias;     /* or NULL */
    const float *residual; /* or NULL */
    int64_t residual_row, residual_pixel;
    float lower, upper; /* NaN passes through */
} winograd_tile;

/* The kernels of one panel of filters: to[position][channel][nr] with zeros beyond the last filter.
 * In double precision, rounded once: the same bits on every instruction set. */
typedef struct winograd_kernels {
    const float *weights; /* [filters][channels][3][3] */
    int64_t channels;
    int64_t filters;
    int64_t nr; /* a multiple of 8, at most WINOGRAD_MOST_PANEL */
    float *to;
} winograd_kernels;

/* A variant. */
typedef struct conv_winograd_transforms {
    const char *name;
    void (*kernels2)(const winograd_kernels *k);
    void (*kernels4)(const winograd_kernels *k);
    void (*window2)(const winograd_window *w); /* F(2 x 2, 3 x 3) */
    void (*window4)(const winograd_window *w); /* F(4 x 4, 3 x 3) */
    void (*tile2)(const winograd_tile *t);
    void (*tile4)(const winograd_tile *t);
} conv_winograd_transforms;

/* The list that dispatch, tests and benchmarks share: lowest level first. `table` points to a
 * conv_winograd_transforms. */
extern const isa_variant conv_winograd_variants[];
extern const int conv_winograd_variant_count;

/* The best variant that may run now. */
const conv_winograd_transforms *conv_winograd_select(void);

extern const conv_winograd_transforms conv_winograd__avx2;
extern const conv_winograd_transforms conv_winograd__avx512;

#endif
