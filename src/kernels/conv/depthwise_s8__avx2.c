/* The integer depthwise kernel compiled for AVX2. */
#include "kernels/conv/depthwise_s8_body.h"
#include "kernels/conv/depthwise_s8_variants.h"

static void run(const conv_s8_plane *p)
{
    depthwise_s8_plane(p);
}

const conv_s8_depthwise_kernel depthwise_s8__avx2 = {"depthwise_s8__avx2", run};
