/* Some pixels of images, as a mask says which: what a convolution must compute where only a part of
 * its results is wanted (LASNet, arXiv 2210.06223, calls the masks spatial and the rest skipped).
 *
 * A mask is a byte per pixel, [images][height][width], 0 or 1. From it comes a list of tiles for
 * brgemm_tile: runs of neighbours in a row that are read and written where they lie, pairs of two
 * runs of half a tile, and single pixels that are brought together. The order is that of the
 * pixels, so it follows from the mask alone. */
#ifndef KERNELS_CONV_PIXEL_LIST_H
#define KERNELS_CONV_PIXEL_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/conv/conv_f32.h"

/* A pixel; rows are counted through all images. */
typedef struct pixel_spot {
    int32_t line;
    int32_t column;
} pixel_spot;

typedef enum pixel_tile_kind {
    PIXEL_TILE_RUN,    /* `count` neighbours from `first` on */
    PIXEL_TILE_PAIR,   /* count / 2 neighbours from `first` on, as many from `second` on */
    PIXEL_TILE_SINGLES /* spots[start] to spots[start + count] */
} pixel_tile_kind;

typedef struct pixel_tile {
    pixel_spot first, second;
    int32_t start;
    int16_t count;
    int16_t kind; /* pixel_tile_kind */
} pixel_tile;

typedef struct pixel_list {
    pixel_tile *tiles; /* room for pixel_list_most_tiles */
    pixel_spot *spots; /* of single pixels: room for all pixels */
    int64_t tile_count;
    int64_t spot_count;
} pixel_list;

/* What tiles are to be like. */
typedef struct pixel_tiling {
    int mr;        /* pixels of a tile at most: even */
    int least_run; /* at least 1: shorter runs become single pixels */
} pixel_tiling;

/* Tiles that a list of `pixels` may have at most. */
int64_t pixel_list_most_tiles(int64_t pixels, const pixel_tiling *tiling);

/* Lists the ones of a mask of `lines` rows of `width` pixels. */
void pixel_list_build(const uint8_t *mask, int64_t lines, int64_t width, const pixel_tiling *tiling,
                      pixel_list *list);

/* The ones among n bytes of a mask. */
int64_t pixel_list_count(const uint8_t *mask, int64_t n);

/* The pixels that a convolution of that shape reads (pads included, which is where the image ends)
 * for the results that `out` wants: element (i, j) reads rows i * stride - pad + r * dilation.
 * `out` is [images][out_h][out_w], `in` [images][in_h][in_w]. */
void pixel_list_dilate(const conv_f32_shape *shape, int64_t images, const uint8_t *out,
                       uint8_t *in);

#endif
