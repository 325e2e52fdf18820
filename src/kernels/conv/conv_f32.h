/* Two-dimensional single-precision convolution over planes [channel][height][width].
 *
 * The general case is a matrix product whose B operand, the matrix of input patches, is never
 * stored: conv_f32_pack gathers the block that the product needs next straight from the image
 * (arXiv 2110.03901 names this implicit im2col). Depthwise convolution has a loop of its own. */
#ifndef KERNELS_CONV_CONV_F32_H
#define KERNELS_CONV_CONV_F32_H

#include <stdint.h>

#include "kernels/isa.h"

/* Geometry of one image and one group. A one-dimensional convolution has height 1. */
typedef struct conv_f32_shape {
    int64_t channels; /* input channels of the group */
    int64_t in_h, in_w;
    int64_t out_h, out_w;
    int64_t kernel_h, kernel_w;
    int64_t stride_h, stride_w;
    int64_t dilation_h, dilation_w;
    int64_t pad_h, pad_w; /* before the first row and column; zeros */
} conv_f32_shape;

/* The patch matrix of an image: row k = (channel, kernel row, kernel column), column n = output
 * pixel in row-major order. */
typedef struct conv_f32_image {
    const conv_f32_shape *shape;
    const float *data; /* [channels][in_h][in_w] */
} conv_f32_image;

/* Packs steps [k0, k0 + k) x columns [n0, n0 + n) of the patch matrix into panels of `width`
 * columns; a gemm_f32_source pack function with a conv_f32_image as context. */
void conv_f32_pack(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                   float *to);

/* Packs as conv_f32_pack does. */
typedef struct conv_f32_packer {
    const char *name;
    void (*pack)(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                 float *to);
} conv_f32_packer;
extern const isa_variant conv_f32_pack_variants[]; /* `table` points to a conv_f32_packer */
extern const int conv_f32_pack_variant_count;

/* The best variant that may run now. */
const conv_f32_packer *conv_f32_pack_select(void);

/* Planes of depthwise convolutions, then residual and clamp to [lower, upper]. Output plane i, of
 * `channels` per image, reads input plane i / multiplier: in[][in_h][in_w],
 * weights[channels][kernel_h][kernel_w], residual and out[][out_h][out_w]. */
typedef struct conv_f32_planes {
    const conv_f32_shape *shape;
    int64_t first; /* output planes [first, first + count) */
    int64_t count;
    int64_t channels;
    int64_t multiplier;
    const float *in;
    const float *weights;
    const float *bias;     /* [channels]; NULL: none */
    const float *residual; /* NULL: none */
    float lower;
    float upper;
    float *out;
} conv_f32_planes;

typedef void (*conv_f32_depthwise)(const conv_f32_planes *p);

/* The list that dispatch, tests and benchmarks share: lowest level first. `table` points to a
 * conv_f32_depthwise_kernel. */
typedef struct conv_f32_depthwise_kernel {
    const char *name;
    conv_f32_depthwise run;
} conv_f32_depthwise_kernel;
extern const isa_variant conv_f32_depthwise_variants[];
extern const int conv_f32_depthwise_variant_count;

/* The best variant that may run now. */
const conv_f32_depthwise_kernel *conv_f32_depthwise_select(void);

#endif
