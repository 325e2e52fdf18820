/* The portable loops of twin quantisation and the list of variants. */
#include "kernels/elementwise/twin_s8_body.h"
#include "kernels/elementwise/twin_s8_variants.h"

static const twin_s8_kernel twin_s8__generic = {"twin_s8__generic", twin_s8_round, twin_s8_split};

const isa_variant twin_s8_variants[] = {
    {"twin_s8__generic", ISA_GENERIC, &twin_s8__generic},
#ifdef SPRY_HAVE_AVX2
    {"twin_s8__avx2", ISA_AVX2, &twin_s8__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"twin_s8__avx512", ISA_AVX512, &twin_s8__avx512},
#endif
};
const int twin_s8_variant_count = sizeof twin_s8_variants / sizeof *twin_s8_variants;

const twin_s8_kernel *twin_s8_select(void)
{
    return isa_select(twin_s8_variants, twin_s8_variant_count);
}
