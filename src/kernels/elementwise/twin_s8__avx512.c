/* The loops of twin quantisation compiled for AVX-512. */
#include "kernels/elementwise/twin_s8_body.h"
#include "kernels/elementwise/twin_s8_variants.h"

const twin_s8_kernel twin_s8__avx512 = {"twin_s8__avx512", twin_s8_round, twin_s8_split};
