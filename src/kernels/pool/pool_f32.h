/* Two-dimensional f32 pooling of planes [in_h][in_w] into [out_h][out_w]. */
#ifndef KERNELS_POOL_POOL_F32_H
#define KERNELS_POOL_POOL_F32_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/conv/conv_f32.h"
#include "kernels/isa.h"

/* Planes that lie one after the other. */
typedef struct pool_f32_planes {
    const conv_f32_shape *shape; /* channels unused */
    int64_t count;
    const float *in;
    float *out;
    bool count_padding;   /* averages divide by the whole window, not by the pixels in the image */
    int64_t end_h, end_w; /* padding behind the last row and column, which counts as pixels too */
} pool_f32_planes;

/* Every window must hold at least one pixel of the image. */
typedef struct pool_f32_kernel {
    const char *name;
    void (*max)(const pool_f32_planes *p);     /* pixels that are NaN do not count */
    void (*average)(const pool_f32_planes *p); /* sums in f32, row by row */
} pool_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant pool_f32_variants[];
extern const int pool_f32_variant_count;

/* The best variant that may run now. */
const pool_f32_kernel *pool_f32_select(void);

#endif
