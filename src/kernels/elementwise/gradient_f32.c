/* The portable variant of gradient_f32 and the list. */
#include "kernels/elementwise/gradient_f32_body.h"
#include "kernels/elementwise/gradient_f32_variants.h"

static const gradient_f32_kernel gradient_f32__generic = GRADIENT_F32("gradient_f32__generic");

const isa_variant gradient_f32_variants[] = {
    {"gradient_f32__generic", ISA_GENERIC, &gradient_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"gradient_f32__avx2", ISA_AVX2, &gradient_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"gradient_f32__avx512", ISA_AVX512, &gradient_f32__avx512},
#endif
};
const int gradient_f32_variant_count = sizeof gradient_f32_variants / sizeof *gradient_f32_variants;

const gradient_f32_kernel *gradient_f32_select(void)
{
    return isa_select(gradient_f32_variants, gradient_f32_variant_count);
}
