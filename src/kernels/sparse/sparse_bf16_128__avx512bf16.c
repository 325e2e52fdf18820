/* bf16: pairs of k, sums in f32. */
#include <immintrin.h>

#include "kernels/sparse/sparse_variants.h"

SPARSE_INLINE __m512i sparse_dot(__m512i sum, __m512i number, __m512i b)
{
    return _mm512_castps_si512(
        _mm512_dpbf16_ps(_mm512_castsi512_ps(sum), (__m512bh)number, (__m512bh)b));
}

#include "kernels/sparse/sparse_128_avx512_body.h"

const sparse_kernel sparse_bf16_128__avx512bf16 = {
    "sparse_bf16_128__avx512bf16", BRGEMM_BF16, COLUMNS, PANEL, 2, LANES, tile, isa_has_bf16};
