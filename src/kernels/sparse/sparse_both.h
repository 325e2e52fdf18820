/* Products and convolutions of channels-last activations that skip zeros of both sides: of
 * activations one by one, of weights by panel.
 *
 *     sparse_both_plan -> brgemm_pack, sparse_both_masks (once) -> sparse_both_run (any number of
 *     times, from several threads on different pieces)
 *
 * Activations are the sparse operand of the tile (sparse.h). The numbers of each pixel that are not
 * zero are listed once for all filters and, since a neighbour is a shift of the list's beginning,
 * for all positions of the kernel. Weights lie packed as dense products of the same level read
 * them, so both can share one copy; a bitmap per tile of columns and position of the kernel says
 * which channels have any weight there. Where a bitmap has zeros, lists are made for it alone, from
 * the intersection with what the pixel has: that is the join of arXiv 2105.09564 with panels of
 * vectors as the coarse level. */
#ifndef KERNELS_SPARSE_SPARSE_BOTH_H
#define KERNELS_SPARSE_SPARSE_BOTH_H

#include "kernels/conv/conv_f32.h"
#include "kernels/sparse/sparse.h"

/* What is to be computed: stride and dilation 1, one group. All sizes are at least 1. */
typedef struct sparse_both_problem {
    conv_f32_shape shape;
    int64_t batch;
    int64_t filters;
} sparse_both_problem;

/* How: immutable, holds no memory. */
typedef struct sparse_both {
    sparse_both_problem problem;
    const sparse_kernel *kernel;
    const sparse_rows_kernel *rows;
    int64_t taps;
    int64_t tiles;        /* of columns */
    int64_t mask_words;   /* of 16 channels, per tile and tap */
    int64_t mask_bytes;   /* for all */
    int64_t pieces;       /* of work */
    int64_t worker_bytes; /* workspace per worker, 64-byte aligned */

    /* For the run. */
    conv_f32_shape shape;
    int64_t batch;
    int64_t pixels;  /* of all images; of a product's last line some may be missing */
    int64_t band;    /* output rows per piece */
    int64_t bands;   /* of an image */
    int64_t band_in; /* input rows that a piece reads */
    int64_t slice;   /* tiles of columns per piece */
    int64_t slices;
    /* Bytes of the parts of a workspace. */
    int64_t sums_bytes, lists_bytes, joined_bytes, rows_bytes, starts_bytes;
} sparse_both;

/* True when it can be computed, with weights that are packed in panels of `panel` columns. */
bool sparse_both_can(const sparse_both_problem *problem, const sparse_kernel *kernel, int panel);

/* Plans for a team of `workers`. */
void sparse_both_plan(const sparse_both_problem *problem, const sparse_kernel *kernel, int workers,
                      sparse_both *b);

/* Which channels have weights, from weights packed by brgemm_pack with problem's taps: masks of
 * mask_bytes. Returns the share of (tile, tap, channel) that do. */
double sparse_both_masks(const sparse_both *b, const float *packed, uint16_t *masks);

/* Cycles of one core that a run takes where a share `density` of the activations and a share `kept`
 * of the masks is not zero. */
double sparse_both_cost(const sparse_both *b, double density, double kept);

/* One run. */
typedef struct sparse_both_call {
    const sparse_both *b;
    const float *x; /* [batch][in_h][in_w][channels] */
    const float *packed;
    const uint16_t *masks; /* NULL: all ones */
    double density;        /* of x, roughly, and ... */
    double kept;           /* ... of the masks: decide about blocks */
    float *y;              /* [batch][out_h][out_w][filters] */
    brgemm_finish finish;  /* as in sparse_conv_call */
    void *workspace;       /* worker_bytes per worker, 64-byte aligned */
    int64_t *entries; /* per worker: adds the numbers multiplied by a tile of columns; or NULL */
} sparse_both_call;

/* Does pieces [begin, end) of the work: a threads_body, with the sparse_both_call as context. */
void sparse_both_run(void *call, int64_t begin, int64_t end, int worker);

/* Which share of x is not zero, from some rows of `channels` spread over all. */
double sparse_density(const float *x, int64_t pixels, int64_t channels);

#endif
