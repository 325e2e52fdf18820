/* The portable integer depthwise kernel and the list of variants. */
#include "kernels/conv/depthwise_s8_body.h"
#include "kernels/conv/depthwise_s8_variants.h"

static void run(const conv_s8_plane *p)
{
    depthwise_s8_plane(p);
}

static const conv_s8_depthwise_kernel depthwise_s8__generic = {"depthwise_s8__generic", run};

const isa_variant conv_s8_depthwise_variants[] = {
    {"depthwise_s8__generic", ISA_GENERIC, &depthwise_s8__generic},
#ifdef SPRY_HAVE_AVX2
    {"depthwise_s8__avx2", ISA_AVX2, &depthwise_s8__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"depthwise_s8__avx512", ISA_AVX512, &depthwise_s8__avx512},
#endif
};
const int conv_s8_depthwise_variant_count =
    sizeof conv_s8_depthwise_variants / sizeof *conv_s8_depthwise_variants;

const conv_s8_depthwise_kernel *conv_s8_depthwise_select(void)
{
    return isa_select(conv_s8_depthwise_variants, conv_s8_depthwise_variant_count);
}
