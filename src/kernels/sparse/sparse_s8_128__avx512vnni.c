/* Bytes: four k at once, weights s8 times activations u8, sums in i32. */
#include <immintrin.h>

#include "kernels/sparse/sparse_variants.h"

SPARSE_INLINE __m512i sparse_dot(__m512i sum, __m512i number, __m512i b)
{
    return _mm512_dpbusd_epi32(sum, b, number);
}

#include "kernels/sparse/sparse_128_avx512_body.h"

const sparse_kernel sparse_s8_128__avx512vnni = {
    "sparse_s8_128__avx512vnni", BRGEMM_S8, COLUMNS, PANEL, 4, LANES, tile, NULL};
