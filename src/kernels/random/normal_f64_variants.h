/* The variants of normal_f64 that live in files of their own. */
#ifndef KERNELS_RANDOM_NORMAL_F64_VARIANTS_H
#define KERNELS_RANDOM_NORMAL_F64_VARIANTS_H

#include "kernels/random/normal_f64.h"

extern const normal_f64_kernel normal_f64__avx2;
extern const normal_f64_kernel normal_f64__avx512;

#endif
