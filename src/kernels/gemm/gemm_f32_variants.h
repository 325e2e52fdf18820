/* The variants of gemm_f32 that live in files of their own. */
#ifndef KERNELS_GEMM_GEMM_F32_VARIANTS_H
#define KERNELS_GEMM_GEMM_F32_VARIANTS_H

#include "kernels/gemm/gemm_f32.h"

extern const gemm_f32_kernel gemm_f32_6x16__avx2;
extern const gemm_f32_kernel gemm_f32_14x32__avx512;

#endif
