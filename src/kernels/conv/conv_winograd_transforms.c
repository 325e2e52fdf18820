/* The portable Winograd transforms and the list of variants. */
#include "kernels/conv/conv_winograd_transforms.h"

#include "kernels/conv/conv_winograd_body.h"

static const conv_winograd_transforms conv_winograd__generic = {
    "conv_winograd__generic", winograd_kernels2, winograd_kernels4, winograd_window2,
    winograd_window4,         winograd_tile2,    winograd_tile4};

const isa_variant conv_winograd_variants[] = {
    {"conv_winograd__generic", ISA_GENERIC, &conv_winograd__generic},
#ifdef SPRY_HAVE_AVX2
    {"conv_winograd__avx2", ISA_AVX2, &conv_winograd__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"conv_winograd__avx512", ISA_AVX512, &conv_winograd__avx512},
#endif
};
const int conv_winograd_variant_count =
    sizeof conv_winograd_variants / sizeof *conv_winograd_variants;

const conv_winograd_transforms *conv_winograd_select(void)
{
    return isa_select(conv_winograd_variants, conv_winograd_variant_count);
}
