/* The derivatives of pooling compiled for AVX2. */
#include "kernels/pool/pool_gradient_body.h"
#include "kernels/pool/pool_gradient_variants.h"

const pool_gradient_kernel pool_gradient__avx2 = {"pool_gradient__avx2", run_largest, run_average};
