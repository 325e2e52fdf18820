/* The portable variant of round_f32 and the list. */
#include "kernels/quantize/round_f32_body.h"
#include "kernels/quantize/round_f32_variants.h"

static const round_f32_kernel round_f32__generic = ROUND_F32_KERNEL("round_f32__generic");

const isa_variant round_f32_variants[] = {
    {"round_f32__generic", ISA_GENERIC, &round_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"round_f32__avx2", ISA_AVX2, &round_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"round_f32__avx512", ISA_AVX512, &round_f32__avx512},
#endif
};
const int round_f32_variant_count = sizeof round_f32_variants / sizeof *round_f32_variants;

const round_f32_kernel *round_f32_select(void)
{
    return isa_select(round_f32_variants, round_f32_variant_count);
}
