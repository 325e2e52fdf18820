/* The depthwise kernel compiled for AVX-512. */
#include "kernels/conv/depthwise_f32_body.h"
#include "kernels/conv/depthwise_f32_variants.h"

static void run(const conv_f32_plane *p)
{
    depthwise_plane(p);
}

const conv_f32_depthwise_kernel depthwise_f32__avx512 = {"depthwise_f32__avx512", run};
