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

const bf16_kernel bf16__avx512bf16 = {"bf16__avx512bf16", narrow, isa_has_bf16};
