/* The variants of gradient_f32 that live in files of their own. */
#ifndef KERNELS_ELEMENTWISE_GRADIENT_F32_VARIANTS_H
#define KERNELS_ELEMENTWISE_GRADIENT_F32_VARIANTS_H

#include "kernels/elementwise/gradient_f32.h"

extern const gradient_f32_kernel gradient_f32__avx2;
extern const gradient_f32_kernel gradient_f32__avx512;

#endif
