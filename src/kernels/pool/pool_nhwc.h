/* Pooling of channels-last images, [in_h][in_w][channels] into [out_h][out_w][channels], and over
 * all pixels of an image. */
#ifndef KERNELS_POOL_POOL_NHWC_H
#define KERNELS_POOL_POOL_NHWC_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/conv/conv_f32.h"
#include "kernels/isa.h"

/* Output rows [first, first + count) of images that lie one after the other, counted through. */
typedef struct pool_nhwc_rows {
    const conv_f32_shape *shape;
    int64_t first;
    int64_t count;
    const void *in;       /* of the first image */
    void *out;            /* of the first image */
    bool count_padding;   /* averages divide by the whole window, not by the pixels in the image */
    int64_t end_h, end_w; /* padding behind the last row and column, which counts as pixels too */
    uint8_t flip;         /* averages of bytes: 0x80 makes signed ones unsigned */
    int32_t zero;         /* of the unsigned ones, which stand for (byte - zero) * scale */
    float scale;
} pool_nhwc_rows;

/* All pixels of one image, for `count` of its channels. */
typedef struct pool_nhwc_image {
    const float *in;  /* first pixel, first of these channels */
    int64_t pixels;   /* at least one */
    int64_t channels; /* from pixel to pixel of the input */
    int64_t count;
    int64_t divisor; /* of the sums: the number of pixels; 1 for those of a part of an image */
    float *out;      /* [count] */
} pool_nhwc_image;

/* Every window must hold at least one pixel of the image. */
typedef struct pool_nhwc_kernel {
    const char *name;
    void (*max_f32)(const pool_nhwc_rows *p);     /* pixels that are NaN do not count */
    void (*average_f32)(const pool_nhwc_rows *p); /* sums in f32, row by row */
    /* Of bytes to f32: sums are exact, and rounded once with scale and size. Windows of less than
     * 2^24 pixels. */
    void (*average_bytes)(const pool_nhwc_rows *p);
    void (*max_u8)(const pool_nhwc_rows *p);
    void (*max_s8)(const pool_nhwc_rows *p);
    void (*global_max)(const pool_nhwc_image *p);     /* as max_f32 */
    void (*global_average)(const pool_nhwc_image *p); /* sums of blocks of pixels in f32 */
} pool_nhwc_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant pool_nhwc_variants[];
extern const int pool_nhwc_variant_count;

/* The best variant that may run now. */
const pool_nhwc_kernel *pool_nhwc_select(void);

#endif
