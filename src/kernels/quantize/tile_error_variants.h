/* The variants of tile_error that live in files of their own. */
#ifndef KERNELS_QUANTIZE_TILE_ERROR_VARIANTS_H
#define KERNELS_QUANTIZE_TILE_ERROR_VARIANTS_H

#include "kernels/quantize/tile_error.h"

extern const tile_error_kernel tile_error__avx2;
extern const tile_error_kernel tile_error__avx512;

#endif
