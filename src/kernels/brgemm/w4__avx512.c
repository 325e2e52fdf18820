/* AVX-512 tile of weights of four bits: a shift brings a code to the low bits of each lane, and a
 * permutation looks its value up (it reads no other bits). */
enum { WORD_BYTES = 128 };

#include "kernels/brgemm/w4_avx512_body.h"

W4_INLINE __m512 code_at(const uint8_t *word, int step, int part)
{
    const __m512 values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    __m512i words = _mm512_loadu_si512(word + part * LANES * 4);

    return _mm512_permutexvar_ps(_mm512_srli_epi32(words, (unsigned)w4_shift(step)), values);
}

const w4_kernel w4_4x32__avx512 = {"w4_4x32__avx512", 4, NR, tile, unpack};
