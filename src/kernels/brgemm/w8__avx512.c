/* AVX-512 tile of weights of eight bits: signed bytes, widened and converted. */
enum { WORD_BYTES = 256 };

#include "kernels/brgemm/w4_avx512_body.h"

W4_INLINE __m512 code_at(const uint8_t *word, int step, int part)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(word + step * NR + part * LANES));

    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

const w4_kernel w8_4x32__avx512 = {"w8_4x32__avx512", 8, NR, tile, unpack};
