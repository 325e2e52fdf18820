/* The derivative of pooling over channels-last f32 images: dy to the first largest element of every
 * window, or in equal parts to all that the window sees. */
#ifndef KERNELS_POOL_POOL_GRADIENT_H
#define KERNELS_POOL_POOL_GRADIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/isa.h"

/* Channels [0, channels) of one image; pixels are `pitch` floats apart. Every window sees at least
 * one pixel. */
typedef struct pool_gradient {
    int64_t in_h, in_w, out_h, out_w;
    int64_t kernel_h, kernel_w, stride_h, stride_w;
    int64_t pad_h, pad_w; /* before the first row and column */
    int64_t pad_end_h,
        pad_end_w; /* after the last ones: counted for a mean, where it counts them */
    int64_t channels, pitch;
    bool counts_pads; /* average */
    const float *x;   /* [in_h][in_w][pitch]; not read by average */
    const float *dy;  /* [out_h][out_w][pitch] */
    float *dx;        /* [in_h][in_w][pitch]: written anew */
} pool_gradient;

/* A variant. */
typedef struct pool_gradient_kernel {
    const char *name;
    void (*largest)(const pool_gradient *p);
    void (*average)(const pool_gradient *p);
} pool_gradient_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant pool_gradient_variants[];
extern const int pool_gradient_variant_count;

/* The best variant that may run now. */
const pool_gradient_kernel *pool_gradient_select(void);

#endif
