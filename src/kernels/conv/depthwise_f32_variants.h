/* The depthwise variants that live in files of their own. */
#ifndef KERNELS_CONV_DEPTHWISE_F32_VARIANTS_H
#define KERNELS_CONV_DEPTHWISE_F32_VARIANTS_H

#include "kernels/conv/conv_f32.h"

extern const conv_f32_depthwise_kernel depthwise_f32__avx2;
extern const conv_f32_depthwise_kernel depthwise_f32__avx512;

#endif
