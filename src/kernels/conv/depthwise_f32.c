/* The portable depthwise kernel and the list of variants. */
#include "kernels/conv/depthwise_f32_body.h"
#include "kernels/conv/depthwise_f32_variants.h"

static void run(const conv_f32_planes *p)
{
    depthwise_planes(p);
}

static const conv_f32_depthwise_kernel depthwise_f32__generic = {"depthwise_f32__generic", run};

const isa_variant conv_f32_depthwise_variants[] = {
    {"depthwise_f32__generic", ISA_GENERIC, &depthwise_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"depthwise_f32__avx2", ISA_AVX2, &depthwise_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"depthwise_f32__avx512", ISA_AVX512, &depthwise_f32__avx512},
#endif
};
const int conv_f32_depthwise_variant_count =
    sizeof conv_f32_depthwise_variants / sizeof *conv_f32_depthwise_variants;

const conv_f32_depthwise_kernel *conv_f32_depthwise_select(void)
{
    return isa_select(conv_f32_depthwise_variants, conv_f32_depthwise_variant_count);
}
