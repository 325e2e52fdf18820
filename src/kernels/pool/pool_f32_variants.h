/* The pooling variants that live in files of their own. */
#ifndef KERNELS_POOL_POOL_F32_VARIANTS_H
#define KERNELS_POOL_POOL_F32_VARIANTS_H

#include "kernels/pool/pool_f32.h"

extern const pool_f32_kernel pool_f32__avx2;
extern const pool_f32_kernel pool_f32__avx512;

#endif
