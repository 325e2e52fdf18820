/* The portable variant of few_f32 and the list. */
#include "kernels/gemm/few_f32_body.h"
#include "kernels/gemm/few_f32_variants.h"

static const few_f32_kernel few_f32__generic = {"few_f32__generic", run_few};

const isa_variant few_f32_variants[] = {
    {"few_f32__generic", ISA_GENERIC, &few_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"few_f32__avx2", ISA_AVX2, &few_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"few_f32__avx512", ISA_AVX512, &few_f32__avx512},
#endif
};
const int few_f32_variant_count = sizeof few_f32_variants / sizeof *few_f32_variants;

const few_f32_kernel *few_f32_select(void)
{
    return isa_select(few_f32_variants, few_f32_variant_count);
}
