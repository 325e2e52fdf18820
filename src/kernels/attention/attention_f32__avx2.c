/* Attention in f32 compiled for AVX2: tiles of 6 x 16 results in 12 registers. */
#define TILE_ROWS 6
#include "kernels/attention/attention_f32_body.h"
#include "kernels/attention/attention_f32_variants.h"

const attention_kernel attention_f32_6x16__avx2 = ATTENTION_F32("attention_f32_6x16__avx2");
