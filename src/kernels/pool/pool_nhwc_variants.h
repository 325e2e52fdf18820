/* The channels-last pooling variants that live in files of their own. */
#ifndef KERNELS_POOL_POOL_NHWC_VARIANTS_H
#define KERNELS_POOL_POOL_NHWC_VARIANTS_H

#include "kernels/pool/pool_nhwc.h"

extern const pool_nhwc_kernel pool_nhwc__avx2;
extern const pool_nhwc_kernel pool_nhwc__avx512;

#endif
