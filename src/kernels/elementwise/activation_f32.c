/* The portable activations and the list of variants. */
#include "kernels/elementwise/activation_f32_body.h"
#include "kernels/elementwise/activation_f32_variants.h"

static const activation_f32_kernel activation_f32__generic =
    ACTIVATION_F32("activation_f32__generic");

const isa_variant activation_f32_variants[] = {
    {"activation_f32__generic", ISA_GENERIC, &activation_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"activation_f32__avx2", ISA_AVX2, &activation_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"activation_f32__avx512", ISA_AVX512, &activation_f32__avx512},
#endif
};
const int activation_f32_variant_count =
    sizeof activation_f32_variants / sizeof *activation_f32_variants;

const activation_f32_kernel *activation_f32_select(void)
{
    return isa_select(activation_f32_variants, activation_f32_variant_count);
}
