/* Attention in f32 compiled for AVX-512: tiles of 14 x 32 results in 28 registers. */
#define TILE_ROWS 14
#include "kernels/attention/attention_f32_body.h"
#include "kernels/attention/attention_f32_variants.h"

const attention_kernel attention_f32_14x32__avx512 = ATTENTION_F32("attention_f32_14x32__avx512");
