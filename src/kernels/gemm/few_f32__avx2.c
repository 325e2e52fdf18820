/* Dot products compiled for AVX2. */
#include "kernels/gemm/few_f32_body.h"
#include "kernels/gemm/few_f32_variants.h"

const few_f32_kernel few_f32__avx2 = {"few_f32__avx2", run_few};
