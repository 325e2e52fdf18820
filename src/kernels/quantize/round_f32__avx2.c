/* Rounding of weights compiled for AVX2. */
#include "kernels/quantize/round_f32_body.h"
#include "kernels/quantize/round_f32_variants.h"

const round_f32_kernel round_f32__avx2 = ROUND_F32_KERNEL("round_f32__avx2");
