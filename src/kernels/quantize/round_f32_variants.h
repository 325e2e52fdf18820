/* The variants of round_f32 that live in files of their own. */
#ifndef KERNELS_QUANTIZE_ROUND_F32_VARIANTS_H
#define KERNELS_QUANTIZE_ROUND_F32_VARIANTS_H

#include "kernels/quantize/round_f32.h"

extern const round_f32_kernel round_f32__avx2;
extern const round_f32_kernel round_f32__avx512;

#endif
