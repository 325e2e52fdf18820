/* Convolutions and products of channels-last activations by sparse weights.
 *
 *     sparse_conv_plan -> sparse_conv_pack (once) -> sparse_conv_run (any number of times, from
 *     several threads on different pieces)
 *
 * The weights are the sparse operand of the tile (sparse.h), so pixels are its columns. An image is
 * cut into as many strips as a vector has lanes, by columns and, where there are few, by rows too,
 * and a vector holds the same pixel of all strips. So a step of the kernel in any direction is a
 * step of whole vectors: none begins in the middle of a cache line, and nothing is stored twice but
 * the strips' margins. A piece of work turns the pixels that it reads into planes of such vectors,
 * one per channel, and its results back when they are finished. The matrix of patches is never
 * made.
 *
 * A matrix product [m][k] x [k][n] is a convolution of a line of m pixels with k channels. There a
 * vector holds neighbours. */
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
    brgemm_type type; /* F32 or BF16; images are floats */
} sparse_conv_problem;

/* How: immutable, holds no memory. */
typedef struct sparse_conv {
    sparse_conv_problem problem;
    const sparse_kernel *kernel;
    const sparse_rows_kernel *row_kernel;
    const transpose_kernel *transpose;
    const bf16_kernel *pairs;
    sparse_lists lists;
    int64_t packed_bytes;  /* of the weights */
    int64_t worker_bytes;  /* workspace per worker, 64-byte aligned */
    int64_t pieces;        /* of work */
    int64_t multiplies;    /* of a run, those of lanes without a pixel included */
    double predicted_cost; /* cycles of one core */

    /* For the run. */
    conv_f32_shape shape; /* an image turned by 90 degrees, so that what is called a row here is a
                             column; or a line of pixels */
    int64_t batch;
    bool is_line;  /* a product */
    int64_t lanes; /* of a vector: row_strips x column_strips, or neighbours of a line */
    int64_t row_strips, column_strips;
    int64_t rows, columns; /* output rows and columns of a strip; a line's columns are vectors */
    int64_t tile;          /* columns of a tile, which has one row */
    int64_t piece_rows, piece_columns;
    int64_t row_pieces, column_pieces; /* of an image */
    /* Planes: [channel][row][residue of the column by the stride][column]. */
    int64_t plane_rows, residues, plane_columns;
    bool is_whole; /* planes of all channels are made at one time, not block by block */
    int64_t channel_block;
    int64_t planes_bytes;
    int64_t floats_bytes; /* BF16: of a block's planes before they become pairs */
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
