/* The portable variant of pool_gradient and the list. */
#include "kernels/pool/pool_gradient_body.h"
#include "kernels/pool/pool_gradient_variants.h"

static const pool_gradient_kernel pool_gradient__generic = {"pool_gradient__generic", run_largest,
                                                            run_average};

const isa_variant pool_gradient_variants[] = {
    {"pool_gradient__generic", ISA_GENERIC, &pool_gradient__generic},
#ifdef SPRY_HAVE_AVX2
    {"pool_gradient__avx2", ISA_AVX2, &pool_gradient__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"pool_gradient__avx512", ISA_AVX512, &pool_gradient__avx512},
#endif
};
const int pool_gradient_variant_count =
    sizeof pool_gradient_variants / sizeof *pool_gradient_variants;

const pool_gradient_kernel *pool_gradient_select(void)
{
    return isa_select(pool_gradient_variants, pool_gradient_variant_count);
}
