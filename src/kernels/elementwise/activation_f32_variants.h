/* The variants of activation_f32 that live in files of their own. */
#ifndef KERNELS_ELEMENTWISE_ACTIVATION_F32_VARIANTS_H
#define KERNELS_ELEMENTWISE_ACTIVATION_F32_VARIANTS_H

#include "kernels/elementwise/activation_f32.h"

extern const activation_f32_kernel activation_f32__avx2;
extern const activation_f32_kernel activation_f32__avx512;

#endif
