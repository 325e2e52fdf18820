/* The variants of outer that live in files of their own. */
#ifndef KERNELS_OUTER_OUTER_VARIANTS_H
#define KERNELS_OUTER_OUTER_VARIANTS_H

#include "kernels/outer/outer.h"

extern const outer_kernel outer_f32_6x16__avx2;
extern const outer_kernel outer_f32_14x32__avx512;
extern const outer_kernel outer_bf16_14x32__avx512bf16;

#endif
