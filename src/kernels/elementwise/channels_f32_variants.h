/* The variants of channels_f32 that live in files of their own. */
#ifndef KERNELS_ELEMENTWISE_CHANNELS_F32_VARIANTS_H
#define KERNELS_ELEMENTWISE_CHANNELS_F32_VARIANTS_H

#include "kernels/elementwise/channels_f32.h"

extern const channels_f32_kernel channels_f32__avx2;
extern const channels_f32_kernel channels_f32__avx512;

#endif
