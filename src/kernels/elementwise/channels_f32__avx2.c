/* The channel-wise kernel compiled for AVX2. */
#include "kernels/elementwise/channels_f32_body.h"
#include "kernels/elementwise/channels_f32_variants.h"

const channels_f32_kernel channels_f32__avx2 = {"channels_f32__avx2", run_scale};
