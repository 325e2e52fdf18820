/* Convolutions and products of channels-last activations by sparse weights.
 *
 *     sparse_conv_plan -> sparse_conv_pack (once) -> sparse_conv_run (any number of times, from
 *     several threads on different pieces)
 *
 * The weights are the sparse operand of the tile (sparse.h), so pixels are its columns: vectors of
 * neighbours of one output row, or, of narrow images, of pieces of several rows (strips). A piece
 * of work turns the pixels that a tile of outputs reads, for a block of channels, into planes of
 * such vectors. There is one set of planes per column of the kernel, because vectors that begin in
 * the middle of a cache line cost two reads each; the rows of the kernel are steps within a plane.
 * So a block is kernel_w times as large as the pixels that it stands for, it fits the first-level
 * cache, and the matrix of patches is never made. Results are turned back when they are finished.
 *
 * A matrix product [m][k] x [k][n] is a convolution of a line of m pixels with k channels. */
#ifndef KERNELS_SPARSE_SPARSE_CONV_H
#define KERNELS_SPARSE_SPARSE_CONV_H

#include "kernels/brgemm/bf16.h"
#include "kernels/conv/conv_f32.h"
#include "kernels/sparse/sparse_lists.h"
#include "kernels/transpose/transpose.h"

/* What is to be computed; one group. All sizes are at least 1. */
typedef struct sparse_conv_problem {
    conv_f32_shape shape;
    int64_t batch;
    int64_t filters;
    brgemm_type type; /* F32 */
} sparse_conv_problem;

/* How: immutable, holds no memory. */
typedef struct sparse_conv {
    sparse_conv_problem problem;
    const sparse_kernel *kernel;
    const sparse_rows_kernel *rows;
    const transpose_kernel *transpose;
    sparse_lists lists;
    int64_t packed_bytes;  /* of the weights */
    int64_t worker_bytes;  /* workspace per worker, 64-byte aligned */
    int64_t pieces;        /* of work */
    int64_t multiplies;    /* of a run, those of lanes without a pixel included */
    double predicted_cost; /* cycles of one core */

    /* For the run. */
    conv_f32_shape shape; /* products of pixels are one line of them: all images */
    int64_t batch;
    int64_t lanes;                   /* pixels of a vector */
    int64_t strips, width;           /* a vector holds `width` pixels of each of so many strips */
    int64_t strip_rows;              /* output rows of a strip */
    int64_t tile_rows;               /* output rows of a tile, of each strip */
    int64_t tile_vectors;            /* vectors of a row of a tile */
    int64_t row_tiles, column_tiles; /* of an image */
    int64_t residues;                /* of input rows by the stride: each lie together */
    int64_t plane_rows;              /* of each residue */
    int64_t channel_block;           /* channels turned at one time */
    int64_t block_bytes;             /* of their planes */
} sparse_conv;

/* Plans for weights of which `facts` are known. */
void sparse_conv_plan(const sparse_conv_problem *problem, const sparse_kernel *kernel,
                      const sparse_facts *facts, sparse_conv *c);

/* What is kept of weights [filters][channels][kernel_h][kernel_w], or of any by their strides: the
 * k of `source` counts channels, then positions of the kernel. */
void sparse_conv_pack(const sparse_conv *c, const sparse_source *source, void *packed);

/* One run. */
typedef struct sparse_conv_call {
    const sparse_conv *c;
    const float *x; /* [batch][in_h][in_w][channels] */
    const void *packed;
    float *y; /* [batch][out_h][out_w][filters] */
    brgemm_finish
        finish;      /* pointers are those of filter 0 and pixel 0; the residual lies as y does, its
                              pitches are set by the run */
    void *workspace; /* worker_bytes per worker, 64-byte aligned */
} sparse_conv_call;

/* Does pieces [begin, end) of the work with that worker's part of the workspace: a threads_body,
 * with the sparse_conv_call as context. */
void sparse_conv_run(void *call, int64_t begin, int64_t end, int worker);

#endif
