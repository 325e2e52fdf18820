/* Winograd transforms for AVX-512. */
#include "kernels/conv/conv_winograd_body.h"

const conv_winograd_transforms conv_winograd__avx512 = {
    "conv_winograd__avx512", winograd_kernels2, winograd_kernels4, winograd_window2,
    winograd_window4,        winograd_tile2,    winograd_tile4};
