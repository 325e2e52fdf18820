/* The predictor of Block-Skim compiled for AVX2. */
#include "kernels/attention/block_predictor_body.h"
#include "kernels/attention/block_predictor_variants.h"

const block_predictor_kernel block_predictor__avx2 = BLOCK_PREDICTOR("block_predictor__avx2");
