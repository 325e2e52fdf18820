/* Channels-last images, scaled and moved channel by channel: what a batch norm is once it has been
 * learnt. */
#ifndef KERNELS_ELEMENTWISE_CHANNELS_F32_H
#define KERNELS_ELEMENTWISE_CHANNELS_F32_H

#include <stdint.h>

#include "kernels/isa.h"

/* to[pixel][c] = from[pixel][c] * scale[c] + shift[c], clamped to [lower, upper]; NaN stays. `to`
 * may be `from`. */
typedef struct channels_f32_image {
    const float *from;
    float *to;
    int64_t pixels;
    int64_t channels;
    const float *scale;
    const float *shift;
    float lower, upper;
} channels_f32_image;

/* A variant. */
typedef struct channels_f32_kernel {
    const char *name;
    void (*scale)(const channels_f32_image *image);
} channels_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant channels_f32_variants[];
extern const int channels_f32_variant_count;

/* The best variant that may run now. */
const channels_f32_kernel *channels_f32_select(void);

#endif
