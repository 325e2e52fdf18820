/* The integer depthwise variants that live in files of their own. */
#ifndef KERNELS_CONV_DEPTHWISE_S8_VARIANTS_H
#define KERNELS_CONV_DEPTHWISE_S8_VARIANTS_H

#include "kernels/conv/conv_s8.h"

extern const conv_s8_depthwise_kernel depthwise_s8__avx2;
extern const conv_s8_depthwise_kernel depthwise_s8__avx512;

#endif
