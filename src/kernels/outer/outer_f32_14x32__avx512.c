/* AVX-512 tile of floats: 16 products per fused multiply-add. */
#include <immintrin.h>
#include <string.h>

#define OUTER_INLINE static inline __attribute__((always_inline))

OUTER_INLINE __m512 outer_dot(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

#include "kernels/outer/outer_14x32_avx512_body.h"

const outer_kernel outer_f32_14x32__avx512 = {
    "outer_f32_14x32__avx512", OUTER_F32, MR, NR, 1, tile, NULL};
