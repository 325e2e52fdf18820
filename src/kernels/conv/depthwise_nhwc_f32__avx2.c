/* The channels-last depthwise kernel compiled for AVX2. */
#include "kernels/conv/depthwise_nhwc_body.h"
#include "kernels/conv/depthwise_nhwc_variants.h"

static void run(const depthwise_nhwc_band *b)
{
    dw_band(b);
}

const depthwise_nhwc_kernel depthwise_nhwc_f32__avx2 = {
    "depthwise_nhwc_f32__avx2", BRGEMM_F32, DW_LANES, 1, DW_VECTORS, run};
