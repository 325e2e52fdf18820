/* The channel-wise kernel compiled for AVX-512. */
#include "kernels/elementwise/channels_f32_body.h"
#include "kernels/elementwise/channels_f32_variants.h"

const channels_f32_kernel channels_f32__avx512 = {"channels_f32__avx512", run_scale};
