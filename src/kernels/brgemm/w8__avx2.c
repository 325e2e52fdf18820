/* AVX2 tile of weights of eight bits: signed bytes, widened and converted. */
enum { WORD_BYTES = 128 };

static const float CODE_STEP = 1.0f;

#include "kernels/brgemm/w4_avx2_body.h"

W4_INLINE __m256 code_at(const uint8_t *word, int step, int part)
{
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(word + step * NR + part * LANES));

    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

const w4_kernel w8_4x16__avx2 = {"w8_4x16__avx2", 8, NR, tile, unpack};
