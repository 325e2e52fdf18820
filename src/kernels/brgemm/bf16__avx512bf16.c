/* Conversion to bf16 by the instruction that is there for it. */
#include <immintrin.h>

#include "kernels/brgemm/bf16_variants.h"

enum { LANES = 16 };

static void narrow(uint16_t *to, const float *from, int64_t n)
{
    int64_t i = 0;

    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        __m512bh pair =
            _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + LANES), _mm512_loadu_ps(from + i));

        _mm512_storeu_si512(to + i, (__m512i)pair);
    }
    for (; i < n; i += LANES) {
        __mmask16 mask = n - i < LANES ? (__mmask16)((1u << (n - i)) - 1) : 0xFFFF;
        __m256bh part = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + i));

        _mm256_mask_storeu_epi16(to + i, mask, (__m256i)part);
    }
}

static void pair(uint32_t *to, const float *even, const float *odd, int64_t n)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);

    for (int64_t i = 0; i < n; i += LANES) {
        __mmask16 mask = n - i < LANES ? (__mmask16)((1u << (n - i)) - 1) : 0xFFFF;
        __m512 upper = odd != NULL ? _mm512_maskz_loadu_ps(mask, odd + i) : _mm512_setzero_ps();
        __m512bh both = _mm512_cvtne2ps_pbh(upper, _mm512_maskz_loadu_ps(mask, even + i));

        _mm512_mask_storeu_epi32(to + i, mask, _mm512_permutexvar_epi16(order, (__m512i)both));
    }
}

const bf16_kernel bf16__avx512bf16 = {"bf16__avx512bf16", narrow, pair, isa_has_bf16};
