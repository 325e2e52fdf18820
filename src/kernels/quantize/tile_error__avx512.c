/* Errors of tiles compiled for AVX-512. */
#include "kernels/quantize/tile_error_body.h"
#include "kernels/quantize/tile_error_variants.h"

const tile_error_kernel tile_error__avx512 = TILE_ERROR_KERNEL("tile_error__avx512");
