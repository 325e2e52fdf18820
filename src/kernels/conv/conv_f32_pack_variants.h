/* The packing variants that live in files of their own. */
#ifndef KERNELS_CONV_CONV_F32_PACK_VARIANTS_H
#define KERNELS_CONV_CONV_F32_PACK_VARIANTS_H

#include "kernels/conv/conv_f32.h"

extern const conv_f32_packer conv_f32_pack__avx512;

#endif
