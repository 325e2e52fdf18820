/* The predictor of Block-Skim compiled for AVX-512. */
#include "kernels/attention/block_predictor_body.h"
#include "kernels/attention/block_predictor_variants.h"

const block_predictor_kernel block_predictor__avx512 = BLOCK_PREDICTOR("block_predictor__avx512");
