/* The channels-last depthwise variants that live in files of their own, and their lists. */
#ifndef KERNELS_CONV_DEPTHWISE_NHWC_VARIANTS_H
#define KERNELS_CONV_DEPTHWISE_NHWC_VARIANTS_H

#include "kernels/conv/depthwise_nhwc.h"

extern const depthwise_nhwc_kernel depthwise_nhwc_f32__avx2;
extern const depthwise_nhwc_kernel depthwise_nhwc_f32__avx512;
extern const depthwise_nhwc_kernel depthwise_nhwc_s8__avx2;
extern const depthwise_nhwc_kernel depthwise_nhwc_s8_32__avx512vnni;
extern const depthwise_nhwc_kernel depthwise_nhwc_s8_64__avx512vnni;

extern const isa_variant depthwise_nhwc_s8_variants[];
extern const int depthwise_nhwc_s8_variant_count;

/* Where a channel of a block of `lanes` lies among its sums and packed weights: as bytes come to
 * lie that are interleaved twice within each 128 bits of a register. */
static inline int depthwise_nhwc_s8_place(int channel, int lanes)
{
    return channel % 16 / 4 * (lanes / 4) + channel / 16 * 4 + channel % 4;
}

/* depthwise_nhwc_pack for bytes. */
void depthwise_nhwc_s8_pack(const depthwise_nhwc *d, const uint8_t *weights, uint8_t flip,
                            int32_t zero, void *packed);

#endif
