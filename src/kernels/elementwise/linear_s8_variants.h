/* The variants of linear_s8 that live in files of their own. */
#ifndef KERNELS_ELEMENTWISE_LINEAR_S8_VARIANTS_H
#define KERNELS_ELEMENTWISE_LINEAR_S8_VARIANTS_H

#include "kernels/elementwise/linear_s8.h"

extern const linear_s8_kernel linear_s8__avx2;
extern const linear_s8_kernel linear_s8__avx512;
extern const linear_s8_kernel linear_s8__avx512vbmi;

#endif
