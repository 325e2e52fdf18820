/* The variants of pool_gradient that live in files of their own. */
#ifndef KERNELS_POOL_POOL_GRADIENT_VARIANTS_H
#define KERNELS_POOL_POOL_GRADIENT_VARIANTS_H

#include "kernels/pool/pool_gradient.h"

extern const pool_gradient_kernel pool_gradient__avx2;
extern const pool_gradient_kernel pool_gradient__avx512;

#endif
