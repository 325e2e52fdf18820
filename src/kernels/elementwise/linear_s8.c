/* The portable loops over quantised bytes and the list of variants. */
#include "kernels/elementwise/linear_s8_body.h"
#include "kernels/elementwise/linear_s8_variants.h"

static const linear_s8_kernel linear_s8__generic = {"linear_s8__generic", linear_s8_quantize,
                                                    linear_s8_dequantize, linear_s8_look_up,
                                                    linear_s8_add};

const isa_variant linear_s8_variants[] = {
    {"linear_s8__generic", ISA_GENERIC, &linear_s8__generic},
#ifdef SPRY_HAVE_AVX2
    {"linear_s8__avx2", ISA_AVX2, &linear_s8__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"linear_s8__avx512", ISA_AVX512, &linear_s8__avx512},
#endif
};
const int linear_s8_variant_count = sizeof linear_s8_variants / sizeof *linear_s8_variants;

const linear_s8_kernel *linear_s8_select(void)
{
    return isa_select(linear_s8_variants, linear_s8_variant_count);
}
