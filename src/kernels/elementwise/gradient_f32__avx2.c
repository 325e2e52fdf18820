/* The kernels of derivatives compiled for AVX2. */
#include "kernels/elementwise/gradient_f32_body.h"
#include "kernels/elementwise/gradient_f32_variants.h"

const gradient_f32_kernel gradient_f32__avx2 = GRADIENT_F32("gradient_f32__avx2");
