/* The variants of twin_s8 that live in files of their own. */
#ifndef KERNELS_ELEMENTWISE_TWIN_S8_VARIANTS_H
#define KERNELS_ELEMENTWISE_TWIN_S8_VARIANTS_H

#include "kernels/elementwise/twin_s8.h"

extern const twin_s8_kernel twin_s8__avx2;
extern const twin_s8_kernel twin_s8__avx512;

#endif
