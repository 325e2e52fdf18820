/* The portable elementwise kernels and the list of variants. */
#include "kernels/elementwise/elementwise_f32_body.h"
#include "kernels/elementwise/elementwise_f32_variants.h"

static const elementwise_f32_kernel elementwise_f32__generic =
    ELEMENTWISE_F32("elementwise_f32__generic");

const isa_variant elementwise_f32_variants[] = {
    {"elementwise_f32__generic", ISA_GENERIC, &elementwise_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"elementwise_f32__avx2", ISA_AVX2, &elementwise_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"elementwise_f32__avx512", ISA_AVX512, &elementwise_f32__avx512},
#endif
};
const int elementwise_f32_variant_count =
    sizeof elementwise_f32_variants / sizeof *elementwise_f32_variants;

const elementwise_f32_kernel *elementwise_f32_select(void)
{
    return isa_select(elementwise_f32_variants, elementwise_f32_variant_count);
}
