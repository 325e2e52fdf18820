/* The portable variant, and the list of all. */
#include "kernels/random/normal_f64_body.h"
#include "kernels/random/normal_f64_variants.h"

static const normal_f64_kernel normal_f64__generic = NORMAL_F64("normal_f64__generic");

const isa_variant normal_f64_variants[] = {
    {"normal_f64__generic", ISA_GENERIC, &normal_f64__generic},
#ifdef SPRY_HAVE_AVX2
    {"normal_f64__avx2", ISA_AVX2, &normal_f64__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"normal_f64__avx512", ISA_AVX512, &normal_f64__avx512},
#endif
};
const int normal_f64_variant_count = sizeof normal_f64_variants / sizeof *normal_f64_variants;

const normal_f64_kernel *normal_f64_select(void)
{
    return isa_select(normal_f64_variants, normal_f64_variant_count);
}
