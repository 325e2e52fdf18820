/* The derivative by the weights of a convolution of channels-last images:
 *
 *     dw[m][c][r][q] = sum over output pixels p of dy[p][m] x[pixel that p sees at (r, q)][c]
 *
 * a sum of outer products over pixels (kernels/outer): dy is read where it lies, and so are windows
 * of one column. Else rows of x are copied between their pads: what a pixel sees of a row are then
 * kernel_w x channels neighbours, and what the next one sees lies a stride further on. Output rows
 * that see the row at different r share the copy.
 *
 * conv_gradient_plan (once) -> conv_gradient_run on pieces, then conv_gradient_finish on rows of dw
 * (any number of times, from several threads).
 *
 * Pieces are cut by the sizes of the problem alone, and partial sums are added in the order of the
 * pixels, so that the number of threads never changes a bit. */
#ifndef KERNELS_CONV_CONV_GRADIENT_H
#define KERNELS_CONV_CONV_GRADIENT_H

#include "kernels/brgemm/bf16.h"
#include "kernels/conv/conv_f32.h"
#include "kernels/outer/outer.h"

/* What is to be computed: all sizes are at least 1. `shape.channels` and `filters` are those of one
 * group. */
typedef struct conv_gradient_problem {
    conv_f32_shape shape;
    int64_t batch;
    int64_t groups;
    int64_t filters;
} conv_gradient_problem;

/* How: immutable, holds no memory. */
typedef struct conv_gradient {
    conv_gradient_problem problem;
    const outer_kernel *kernel;
    const bf16_kernel *narrow; /* BF16 */
    bool in_place;             /* x is not copied */
    int64_t steps;             /* of the kernel per row of pixels */
    int64_t row_pixels;        /* of a row of x with its pads */
    int64_t channel_slice;     /* channels, filters and rows of pixels (of all images) per piece */
    int64_t filter_slice;
    int64_t line_slice;
    int64_t lines;        /* rows of pixels that are copied at one time */
    int64_t copied_rows;  /* of x, at most, for them */
    int64_t pieces;       /* of work */
    int64_t sum_floats;   /* of one array of partial sums */
    int64_t worker_bytes; /* workspace per worker, 64-byte aligned */
    int64_t shared_bytes; /* workspace for all: partial sums */
} conv_gradient;

void conv_gradient_plan(const conv_gradient_problem *problem, const outer_kernel *kernel,
                        conv_gradient *c);

/* One run. */
typedef struct conv_gradient_call {
    const conv_gradient *c;
    const float *x;  /* [batch][in_h][in_w][groups x channels] */
    const float *dy; /* [batch][out_h][out_w][groups x filters] */
    float *dw;       /* [groups x filters][channels][kernel_h][kernel_w] */
    void *workspace; /* shared_bytes, then worker_bytes per worker */
} conv_gradient_call;

/* Does pieces [begin, end) with that worker's part of the workspace: a threads_body, with the
 * conv_gradient_call as context. */
void conv_gradient_run(void *call, int64_t begin, int64_t end, int worker);

/* Rows [begin, end) of dw, of groups x filters, when all pieces are done: a threads_body too. */
void conv_gradient_finish(void *call, int64_t begin, int64_t end, int worker);

#endif
