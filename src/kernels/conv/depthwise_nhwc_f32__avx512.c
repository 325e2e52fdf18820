/* The channels-last depthwise kernel compiled for AVX-512. */
#include "kernels/conv/depthwise_nhwc_body.h"
#include "kernels/conv/depthwise_nhwc_variants.h"

static void run(const depthwise_nhwc_band *b)
{
    dw_band(b);
}

const depthwise_nhwc_kernel depthwise_nhwc_f32__avx512 = {
    "depthwise_nhwc_f32__avx512", BRGEMM_F32, DW_LANES, 1, DW_VECTORS, run};
