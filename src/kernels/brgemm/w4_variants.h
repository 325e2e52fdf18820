/* The variants of w4, of four and of eight bits, that live in files of their own. */
#ifndef KERNELS_BRGEMM_W4_VARIANTS_H
#define KERNELS_BRGEMM_W4_VARIANTS_H

#include "kernels/brgemm/w4.h"

extern const w4_kernel w4_4x16__avx2;
extern const w4_kernel w4_4x32__avx512;
extern const w4_kernel w8_4x16__avx2;
extern const w4_kernel w8_4x32__avx512;

#endif
