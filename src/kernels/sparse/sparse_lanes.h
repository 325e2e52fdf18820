/* Convolutions and products of channels-last activations by weights of which each 16 filters keep
 * about as many as one another, of each 16 channels and position of the kernel.
 *
 *     sparse_lanes_plan -> sparse_lanes_pack (once) -> sparse_lanes_run (any number of times, from
 *     several threads on different pieces)
 *
 * Filters are the lanes of a vector, as in dense tiles. What is read of a pixel are 16 neighbouring
 * channels, and a permutation gives each lane the channel that its filter keeps:
 *
 *     sum[filter] += value[slot][filter] * x[pixel + at[slot]][lane[slot][filter]]
 *
 * A slot is that for 16 filters: a permutation and a multiply-add for a pixel, where the dense tile
 * has 16 multiply-adds. There are as many slots as the filter with the most numbers keeps, so that
 * N of 16, with an N that may change from place to place, is multiplied without waste (the method
 * "lanes" of spry sparsify). Filters with fewer numbers have zeros. Pixels stay where they are:
 * nothing is turned, and nothing is listed in a run.
 *
 * A matrix product [m][k] x [k][n] is a convolution of a line of m pixels with k channels, read in
 * place. Images are copied with their padding, a band of rows at a time. */
#ifndef KERNELS_SPARSE_SPARSE_LANES_H
#define KERNELS_SPARSE_SPARSE_LANES_H

#include "kernels/brgemm/brgemm.h"
#include "kernels/conv/conv_f32.h"
#include "kernels/sparse/sparse_lists.h"

enum {
    SPARSE_LANES = 16,         /* filters of a panel, channels of a window */
    SPARSE_LANES_PIXELS = 8,   /* neighbours that a tile takes together: a run */
    SPARSE_LANES_MOST_RUNS = 3 /* of a tile */
};

/* Neighbouring pixels. */
typedef struct sparse_lanes_pixels {
    const float *x;        /* of pixel 0; all pixels may be read */
    float *y;              /* of pixel 0; pixels [first, end) are written */
    const float *residual; /* as y, or NULL */
    int first, end;
} sparse_lanes_pixels;

/* Some runs of pixels by the slots of a panel. Additions are in the order of the slots. */
typedef struct sparse_lanes_tile {
    sparse_lanes_pixels runs[SPARSE_LANES_MOST_RUNS];
    int count;           /* of runs, at least 1 */
    int64_t x_pitch;     /* floats from pixel to pixel */
    int64_t y_pitch;     /* floats; of the residual too */
    const uint32_t *at;  /* of slots: floats from a pixel to a window */
    const uint8_t *lane; /* [slots][16]: places in the window */
    const float *value;  /* [slots][16] */
    int64_t slots;
    int lanes;                   /* filters, 1 to 16 */
    const brgemm_finish *finish; /* bias of lane 0; the residual is that of the runs */
} sparse_lanes_tile;

/* A variant. */
typedef struct sparse_lanes_kernel {
    const char *name; /* "sparse_lanes_f32__avx512" */
    void (*tile)(const sparse_lanes_tile *t);
} sparse_lanes_kernel;

extern const isa_variant sparse_lanes_variants[];
extern const int sparse_lanes_variant_count;
/* The best variant; the first is the portable one. */
const sparse_lanes_kernel *sparse_lanes_select(void);

/* What is to be computed; one group. All sizes are at least 1. */
typedef struct sparse_lanes_problem {
    conv_f32_shape shape;
    int64_t batch;
    int64_t filters;
    int64_t slots; /* of the weights: sparse_lanes_count */
} sparse_lanes_problem;

/* How: immutable, holds no memory. */
typedef struct sparse_lanes_conv {
    sparse_lanes_problem problem;
    const sparse_lanes_kernel *kernel;
    int64_t panels;
    int64_t packed_bytes;  /* of the weights */
    int64_t worker_bytes;  /* workspace per worker, 64-byte aligned */
    int64_t pieces;        /* of work */
    double predicted_cost; /* cycles of one core */

    /* For the run. */
    bool is_line;      /* a product */
    int64_t line;      /* floats of a row of the band; a line has no band */
    int64_t band_rows; /* output rows, or pixels of a line, of a piece */
    int64_t bands;     /* of an image */
    int64_t slice;     /* panels of a piece */
    int64_t slices;
} sparse_lanes_conv;

/* Has the shape as many channels as a window, and, if it is a product, as many pixels as a run? */
bool sparse_lanes_can(const conv_f32_shape *shape);

/* Slots of weights [filters][channels][taps], by the strides of `source`: its k counts channels,
 * then taps. */
int64_t sparse_lanes_count(const sparse_source *source, int64_t taps);

/* Plans for a team of `workers`. */
void sparse_lanes_plan(const sparse_lanes_problem *problem, const sparse_lanes_kernel *kernel,
                       int workers, sparse_lanes_conv *c);

/* Packs into packed_bytes at `packed`, 64-byte aligned. */
void sparse_lanes_pack(const sparse_lanes_conv *c, const sparse_source *source, void *packed);

/* One run. */
typedef struct sparse_lanes_call {
    const sparse_lanes_conv *c;
    const float *x; /* [batch][in_h][in_w][channels] */
    const void *packed;
    float *y;             /* [batch][out_h][out_w][filters] */
    brgemm_finish finish; /* pointers are those of filter 0 and pixel 0; the residual lies as y */
    void *workspace;      /* worker_bytes per worker, 64-byte aligned */
} sparse_lanes_call;

/* Does pieces [begin, end) of the work with that worker's part of the workspace: a threads_body,
 * with the sparse_lanes_call as context. */
void sparse_lanes_run(void *call, int64_t begin, int64_t end, int worker);

#endif
