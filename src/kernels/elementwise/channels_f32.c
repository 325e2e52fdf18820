/* The portable variant of channels_f32 and the list. */
#include "kernels/elementwise/channels_f32_body.h"
#include "kernels/elementwise/channels_f32_variants.h"

static const channels_f32_kernel channels_f32__generic = {"channels_f32__generic", run_scale};

const isa_variant channels_f32_variants[] = {
    {"channels_f32__generic", ISA_GENERIC, &channels_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"channels_f32__avx2", ISA_AVX2, &channels_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"channels_f32__avx512", ISA_AVX512, &channels_f32__avx512},
#endif
};
const int channels_f32_variant_count = sizeof channels_f32_variants / sizeof *channels_f32_variants;

const channels_f32_kernel *channels_f32_select(void)
{
    return isa_select(channels_f32_variants, channels_f32_variant_count);
}
