/* The variants of attention that live in files of their own. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_VARIANTS_H
#define KERNELS_ATTENTION_ATTENTION_F32_VARIANTS_H

#include "kernels/attention/attention_f32.h"

extern const attention_kernel attention_f32_6x16__avx2;
extern const attention_kernel attention_f32_14x32__avx512;
extern const attention_kernel attention_bf16_14x32__avx512bf16;

#endif
