/* The elementwise kernels compiled for AVX2. */
#include "kernels/elementwise/elementwise_f32_body.h"
#include "kernels/elementwise/elementwise_f32_variants.h"

const elementwise_f32_kernel elementwise_f32__avx2 = ELEMENTWISE_F32("elementwise_f32__avx2");
