/* The portable channels-last pooling kernels and the list of variants. */
#include "kernels/pool/pool_nhwc.h"

#include "kernels/pool/pool_nhwc_body.h"
#include "kernels/pool/pool_nhwc_variants.h"

static const pool_nhwc_kernel pool_nhwc__generic = POOL_NHWC("pool_nhwc__generic");

const isa_variant pool_nhwc_variants[] = {
    {"pool_nhwc__generic", ISA_GENERIC, &pool_nhwc__generic},
#ifdef SPRY_HAVE_AVX2
    {"pool_nhwc__avx2", ISA_AVX2, &pool_nhwc__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"pool_nhwc__avx512", ISA_AVX512, &pool_nhwc__avx512},
#endif
};
const int pool_nhwc_variant_count = sizeof pool_nhwc_variants / sizeof *pool_nhwc_variants;

const pool_nhwc_kernel *pool_nhwc_select(void)
{
    return isa_select(pool_nhwc_variants, pool_nhwc_variant_count);
}
