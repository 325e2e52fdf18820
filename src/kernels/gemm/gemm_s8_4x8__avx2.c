/* AVX2 tile of 4 rows x 8 columns. Bytes are widened to 16 bits and multiplied by vpmaddwd, whose
 * pair sums are exact; vpmaddubsw would saturate. */
#include <immintrin.h>

#include "kernels/gemm/gemm_s8_finish_body.h"
#include "kernels/gemm/gemm_s8_variants.h"

enum { MR = 4, NR = 8, HALVES = 2 };

static inline __attribute__((always_inline)) __m256i widen(__m128i bytes, bool is_unsigned)
{
    return is_unsigned ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
}

/* `a_is_unsigned` is a constant at every call. An accumulator holds two partial sums for each of
 * four columns. */
static inline __attribute__((always_inline)) void tile_of(const gemm_s8_tile *t, bool a_is_unsigned)
{
    __m256i sum[MR][HALVES];
    int32_t sums[MR][NR];
    const uint8_t *a = t->a;
    const uint8_t *b = t->b;

#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
        sum[i][0] = _mm256_setzero_si256();
        sum[i][1] = _mm256_setzero_si256();
    }
    for (int64_t step = 0; step < t->steps; step++) {
        __m256i b0 = widen(_mm_loadu_si128((const __m128i *)b), !a_is_unsigned);
        __m256i b1 = widen(_mm_loadu_si128((const __m128i *)(b + 16)), !a_is_unsigned);

#pragma GCC unroll 4
        for (int i = 0; i < MR; i++) {
            int32_t four;
            __m256i left;

            memcpy(&four, a + i * GEMM_S8_STEP, sizeof four);
            left = widen(_mm_set1_epi32(four), a_is_unsigned);
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(left, b0));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(left, b1));
        }
        a += MR * GEMM_S8_STEP;
        b += NR * GEMM_S8_STEP;
    }
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
        __m256i pairs = _mm256_hadd_epi32(sum[i][0], sum[i][1]); /* columns 0 1 4 5 2 3 6 7 */

        _mm256_storeu_si256((__m256i *)sums[i],
                            _mm256_permute4x64_epi64(pairs, _MM_SHUFFLE(3, 1, 2, 0)));
    }
    for (int i = 0; i < t->rows; i++) {
        gemm_s8_store_row(t, i, sums[i]);
    }
}

static void tile(const gemm_s8_tile *t)
{
    if (t->a_is_unsigned) {
        tile_of(t, true);
    } else {
        tile_of(t, false);
    }
}

const gemm_s8_kernel gemm_s8_4x8__avx2 = {"gemm_s8_4x8__avx2", MR, NR, tile, NULL};
