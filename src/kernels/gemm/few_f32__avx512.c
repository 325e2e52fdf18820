/* Dot products compiled for AVX-512. */
#include "kernels/gemm/few_f32_body.h"
#include "kernels/gemm/few_f32_variants.h"

const few_f32_kernel few_f32__avx512 = {"few_f32__avx512", run_few};
