/* The derivative by the weights of a depthwise convolution of channels-last images: lanes are
 * channels, and each kernel position is a sum over pixels.
 *
 *     dw[c][r][q] = sum over output pixels p of dy[p][c] x[pixel that p sees at (r, q)][c]
 *
 * depthwise_gradient_plan (once) -> depthwise_gradient_run on pieces, then
 * depthwise_gradient_finish on channels (any number of times, from several threads). Pieces are cut
 * by the sizes of the problem alone, and partial sums are added in the order of the pixels. */
#ifndef KERNELS_CONV_DEPTHWISE_GRADIENT_H
#define KERNELS_CONV_DEPTHWISE_GRADIENT_H

#include "kernels/conv/conv_f32.h"
#include "kernels/elementwise/gradient_f32.h"

/* How: immutable, holds no memory. `shape.channels` are all of them. */
typedef struct depthwise_gradient {
    conv_f32_shape shape;
    int64_t batch;
    const gradient_f32_kernel *kernel;
    int64_t line_slice; /* rows of pixels (of all images) per piece */
    int64_t pieces;
    int64_t shared_bytes; /* workspace: partial sums */
} depthwise_gradient;

void depthwise_gradient_plan(const conv_f32_shape *shape, int64_t batch,
                             const gradient_f32_kernel *kernel, depthwise_gradient *d);

/* One run. */
typedef struct depthwise_gradient_call {
    const depthwise_gradient *d;
    const float *x;  /* [batch][in_h][in_w][channels] */
    const float *dy; /* [batch][out_h][out_w][channels] */
    float *dw;       /* [channels][kernel_h][kernel_w] */
    float *sums;     /* shared_bytes */
} depthwise_gradient_call;

/* Pieces [begin, end), and channels [begin, end) of dw: each a threads_body with the call as
 * context. */
void depthwise_gradient_run(void *call, int64_t begin, int64_t end, int worker);
void depthwise_gradient_finish(void *call, int64_t begin, int64_t end, int worker);

#endif
