/* The variants of gemm_s8 that live in files of their own. */
#ifndef KERNELS_GEMM_GEMM_S8_VARIANTS_H
#define KERNELS_GEMM_GEMM_S8_VARIANTS_H

#include "kernels/gemm/gemm_s8.h"

extern const gemm_s8_kernel gemm_s8_4x8__avx2;
extern const gemm_s8_kernel gemm_s8_6x16__avxvnni;
extern const gemm_s8_kernel gemm_s8_6x64__avx512vnni;

#endif
