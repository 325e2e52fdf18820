/* The activations compiled for AVX-512. */
#include "kernels/elementwise/activation_f32_body.h"
#include "kernels/elementwise/activation_f32_variants.h"

const activation_f32_kernel activation_f32__avx512 = ACTIVATION_F32("activation_f32__avx512");
