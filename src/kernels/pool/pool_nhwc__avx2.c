/* The channels-last pooling kernels compiled for AVX2. */
#include "kernels/pool/pool_nhwc_body.h"
#include "kernels/pool/pool_nhwc_variants.h"

const pool_nhwc_kernel pool_nhwc__avx2 = POOL_NHWC("pool_nhwc__avx2");
