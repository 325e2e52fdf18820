/* The portable pooling kernels and the list of variants. */
#include "kernels/pool/pool_f32_body.h"
#include "kernels/pool/pool_f32_variants.h"

static void run_max(const pool_f32_planes *p)
{
    pool_f32_run(POOL_F32_MAX, p);
}

static void run_average(const pool_f32_planes *p)
{
    pool_f32_run(POOL_F32_SUM, p);
}

static const pool_f32_kernel pool_f32__generic = {"pool_f32__generic", run_max, run_average};

const isa_variant pool_f32_variants[] = {
    {"pool_f32__generic", ISA_GENERIC, &pool_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"pool_f32__avx2", ISA_AVX2, &pool_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"pool_f32__avx512", ISA_AVX512, &pool_f32__avx512},
#endif
};
const int pool_f32_variant_count = sizeof pool_f32_variants / sizeof *pool_f32_variants;

const pool_f32_kernel *pool_f32_select(void)
{
    return isa_select(pool_f32_variants, pool_f32_variant_count);
}
