/* The pooling kernels compiled for AVX2. */
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

const pool_f32_kernel pool_f32__avx2 = {"pool_f32__avx2", run_max, run_average};
