/* Two-dimensional convolution of bytes: patches gathered for the integer product, and the depthwise
 * loop. The geometry is that of conv_f32; padding holds the input's zero point. */
#ifndef KERNELS_CONV_CONV_S8_H
#define KERNELS_CONV_CONV_S8_H

#include "kernels/conv/conv_f32.h"
#include "kernels/gemm/gemm_s8.h"

/* The patch matrix of an image, as context of conv_s8_pack. */
typedef struct conv_s8_image {
    const conv_f32_shape *shape;
    const uint8_t *data; /* [channels][in_h][in_w] */
    uint8_t zero;        /* the byte that stands for 0 */
    uint8_t flip;        /* XORed to every byte, padding included */
} conv_s8_image;

/* Packs columns [first, first + count) of the patch matrix, all steps, into panels of `width`
 * columns: a gemm_s8_source pack function. Row k = (channel, kernel row, kernel column), column n =
 * output pixel in row-major order. */
void conv_s8_pack(const void *context, int64_t first, int64_t count, int width, uint8_t *to);

/* One channel of a depthwise convolution. in[in_h][in_w] are u8, or s8 when `is_signed`;
 * weights[kernel_h][kernel_w] come with their zero point taken off. The sums are finished like row
 * `row` of a product whose columns are the output pixels. */
typedef struct conv_s8_plane {
    const conv_f32_shape *shape;
    const uint8_t *in;
    bool is_signed;
    int32_t zero; /* of the input */
    const int16_t *weights;
    const gemm_s8_finish *finish;
    int row;
    void *out; /* [out_h][out_w] */
} conv_s8_plane;

typedef struct conv_s8_depthwise_kernel {
    const char *name;
    void (*run)(const conv_s8_plane *p);
} conv_s8_depthwise_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. `table` points to a
 * conv_s8_depthwise_kernel. */
extern const isa_variant conv_s8_depthwise_variants[];
extern const int conv_s8_depthwise_variant_count;

/* The best variant that may run now. */
const conv_s8_depthwise_kernel *conv_s8_depthwise_select(void);

#endif
