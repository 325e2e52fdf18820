/* AVX2 tile of weights of four bits: a shift brings a code to the top of each lane, where it is a
 * signed number times 2^28; the scale takes that factor back. */
enum { WORD_BYTES = 64, TOP = 28 /* where the last code of a word begins */ };

static const float CODE_STEP = 0x1p-28f;

#include "kernels/brgemm/w4_avx2_body.h"

/* A code of zero point 8 with its highest bit turned over is a signed one. */
W4_INLINE __m256 code_at(const uint8_t *word, int step, int part)
{
    __m256i words = _mm256_loadu_si256((const __m256i *)(word + part * LANES * 4));
    __m256i code = _mm256_slli_epi32(_mm256_xor_si256(words, _mm256_set1_epi32((int)0x88888888u)),
                                     TOP - w4_shift(step));

    return _mm256_cvtepi32_ps(_mm256_and_si256(code, _mm256_set1_epi32((int)0xF0000000u)));
}

const w4_kernel w4_4x16__avx2 = {"w4_4x16__avx2", 4, NR, tile, unpack};
