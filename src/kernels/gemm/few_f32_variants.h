/* The variants of few_f32 that live in files of their own. */
#ifndef KERNELS_GEMM_FEW_F32_VARIANTS_H
#define KERNELS_GEMM_FEW_F32_VARIANTS_H

#include "kernels/gemm/few_f32.h"

extern const few_f32_kernel few_f32__avx2;
extern const few_f32_kernel few_f32__avx512;

#endif
