/* AVX-512 tile of bf16: 32 products per instruction, two for each sum. */
#include <immintrin.h>
#include <string.h>

#define OUTER_INLINE static inline __attribute__((always_inline))

OUTER_INLINE __m512 outer_dot(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

#include "kernels/outer/outer_14x32_avx512_body.h"

const outer_kernel outer_bf16_14x32__avx512bf16 = {
    "outer_bf16_14x32__avx512bf16", OUTER_BF16, MR, NR, 2, tile, isa_has_bf16};
