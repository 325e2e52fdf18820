/* The depthwise kernel compiled for AVX2. */
#include "kernels/conv/depthwise_f32_body.h"
#include "kernels/conv/depthwise_f32_variants.h"

static void run(const conv_f32_planes *p)
{
    depthwise_planes(p);
}

const conv_f32_depthwise_kernel depthwise_f32__avx2 = {"depthwise_f32__avx2", run};
