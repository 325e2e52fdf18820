/* The portable variant of tile_error and the list. */
#include "kernels/quantize/tile_error_body.h"
#include "kernels/quantize/tile_error_variants.h"

static const tile_error_kernel tile_error__generic = TILE_ERROR_KERNEL("tile_error__generic");

const isa_variant tile_error_variants[] = {
    {"tile_error__generic", ISA_GENERIC, &tile_error__generic},
#ifdef SPRY_HAVE_AVX2
    {"tile_error__avx2", ISA_AVX2, &tile_error__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"tile_error__avx512", ISA_AVX512, &tile_error__avx512},
#endif
};
const int tile_error_variant_count = sizeof tile_error_variants / sizeof *tile_error_variants;

const tile_error_kernel *tile_error_select(void)
{
    return isa_select(tile_error_variants, tile_error_variant_count);
}
