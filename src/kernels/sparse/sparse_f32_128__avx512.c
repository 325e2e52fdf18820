/* f32: a fused multiply-add per vector. */
#include <immintrin.h>

#include "kernels/sparse/sparse_variants.h"

SPARSE_INLINE __m512i sparse_dot(__m512i sum, __m512i number, __m512i b)
{
    return _mm512_castps_si512(_mm512_fmadd_ps(_mm512_castsi512_ps(number), _mm512_castsi512_ps(b),
                                               _mm512_castsi512_ps(sum)));
}

#include "kernels/sparse/sparse_128_avx512_body.h"

const sparse_kernel sparse_f32_128__avx512 = {
    "sparse_f32_128__avx512", BRGEMM_F32, COLUMNS, PANEL, 1, LANES, tile, NULL};
