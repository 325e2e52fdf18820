/* Errors of tiles compiled for AVX2. */
#include "kernels/quantize/tile_error_body.h"
#include "kernels/quantize/tile_error_variants.h"

const tile_error_kernel tile_error__avx2 = TILE_ERROR_KERNEL("tile_error__avx2");
