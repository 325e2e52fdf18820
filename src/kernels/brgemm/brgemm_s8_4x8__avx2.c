/* AVX2 tile of 4 rows x 8 columns. Bytes are widened to 16 bits and multiplied by vpmaddwd, whose
 * pair sums are exact; vpmaddubsw would saturate. */
#include <immintrin.h>

#include "kernels/brgemm/brgemm_s8_finish_body.h"

enum { MR = 4, NR = 8, STEP_BYTES = NR * 4 };

/* Four columns of four bytes. */
static inline __attribute__((always_inline)) __m256i widen(const int8_t *b)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)b));
}

/* An accumulator holds two partial sums for each of four columns. Rows that the tile lacks repeat
 * its first. */
static void tile(const brgemm_tile *t)
{
    const __m128i flip = _mm_set1_epi8((char)t->flip);
    int32_t sums[MR][NR];
    __m256i sum[MR][2];
    const uint8_t *rows[MR];
    const int8_t *b = t->b;

#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
        rows[i] = (const uint8_t *)brgemm_a_row(t, i < t->rows ? i : 0, MR);
        sum[i][0] = _mm256_setzero_si256();
        sum[i][1] = _mm256_setzero_si256();
    }
    for (int tap = 0; tap < t->taps; tap++) {
        int64_t offset = t->tap_offsets[tap];

        for (int64_t step = 0; step < t->steps; step++) {
            __m256i b0 = widen(b);
            __m256i b1 = widen(b + STEP_BYTES / 2);

#pragma GCC unroll 4
            for (int i = 0; i < MR; i++) {
                int32_t four;
                __m256i x;

                memcpy(&four, rows[i] + offset + 4 * step, sizeof four);
                x = _mm256_cvtepu8_epi16(_mm_xor_si128(_mm_set1_epi32(four), flip));
                sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(x, b0));
                sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(x, b1));
            }
            b += STEP_BYTES;
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
        __m256i pairs = _mm256_hadd_epi32(sum[i][0], sum[i][1]); /* columns 0 1 4 5 2 3 6 7 */

        _mm256_storeu_si256((__m256i *)(void *)sums[i],
                            _mm256_permute4x64_epi64(pairs, _MM_SHUFFLE(3, 1, 2, 0)));
    }
    for (int i = 0; i < t->rows; i++) {
        brgemm_s8_store_row(t, i, MR, sums[i]);
    }
}

const brgemm_kernel brgemm_s8_4x8__avx2 = {"brgemm_s8_4x8__avx2", BRGEMM_S8, MR, NR, 4, tile, NULL};
