/* The variants of bf16 that live in files of their own. */
#ifndef KERNELS_BRGEMM_BF16_VARIANTS_H
#define KERNELS_BRGEMM_BF16_VARIANTS_H

#include "kernels/brgemm/bf16.h"

extern const bf16_kernel bf16__avx512bf16;

#endif
