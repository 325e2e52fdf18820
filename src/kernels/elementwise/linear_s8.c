/* The portable loops over quantised bytes and the list of variants. */
#include "kernels/elementwise/linear_s8_body.h"
#include "kernels/elementwise/linear_s8_variants.h"

static const linear_s8_kernel linear_s8__generic = {"linear_s8__generic", linear_s8_quantize,
                                                    linear_s8_dequantize, linear_s8_look_up,
                                                    linear_s8_add,        NULL};

const isa_variant linear_s8_variants[] = {
    {"linear_s8__generic", ISA_GENERIC, &linear_s8__generic},
#ifdef SPRY_HAVE_AVX2
    {"linear_s8__avx2", ISA_AVX2, &linear_s8__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"linear_s8__avx512", ISA_AVX512, &linear_s8__avx512},
#endif
#ifdef SPRY_HAVE_AVX512VBMI
    {"linear_s8__avx512vbmi", ISA_AVX512VNNI, &linear_s8__avx512vbmi},
#endif
};
const int linear_s8_variant_count = sizeof linear_s8_variants / sizeof *linear_s8_variants;

bool linear_s8_usable(const isa_variant *variant)
{
    const linear_s8_kernel *kernel = variant->table;

    return isa_usable(variant->level) && (kernel->present == NULL || kernel->present());
}

const linear_s8_kernel *linear_s8_select(void)
{
    const linear_s8_kernel *best = linear_s8_variants[0].table;

    for (int i = 1; i < linear_s8_variant_count; i++) {
        best = linear_s8_usable(&linear_s8_variants[i]) ? linear_s8_variants[i].table : best;
    }
    return best;
}
