/* The variants of elementwise_f32 that live in files of their own. */
#ifndef KERNELS_ELEMENTWISE_ELEMENTWISE_F32_VARIANTS_H
#define KERNELS_ELEMENTWISE_ELEMENTWISE_F32_VARIANTS_H

#include "kernels/elementwise/elementwise_f32.h"

extern const elementwise_f32_kernel elementwise_f32__avx2;
extern const elementwise_f32_kernel elementwise_f32__avx512;

#endif
