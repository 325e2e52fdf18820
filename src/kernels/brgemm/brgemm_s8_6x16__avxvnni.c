/* AVX-VNNI tile of 6 rows x 16 columns: 12 accumulators, 2 registers of B, 1 broadcast of A. */
#include <immintrin.h>

#include "kernels/brgemm/brgemm_s8_finish_body.h"

enum { MR = 6, NR = 16, LANES = 8, STEP_BYTES = NR * 4 };

/* Rows that the tile lacks repeat its first. */
static void tile(const brgemm_tile *t)
{
    const __m256i flip = _mm256_set1_epi8((char)t->flip);
    int32_t sums[MR][NR];
    __m256i sum[MR][2];
    const uint8_t *rows[MR];
    const uint8_t *b = t->b;

#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        rows[i] = (const uint8_t *)brgemm_a_row(t, i < t->rows ? i : 0, MR);
        sum[i][0] = _mm256_setzero_si256();
        sum[i][1] = _mm256_setzero_si256();
    }
    for (int tap = 0; tap < t->taps; tap++) {
        int64_t offset = t->tap_offsets[tap];

        for (int64_t step = 0; step < t->steps; step++) {
            __m256i b0 = _mm256_loadu_si256((const __m256i *)(const void *)b);
            __m256i b1 = _mm256_loadu_si256((const __m256i *)(const void *)(b + STEP_BYTES / 2));

#pragma GCC unroll 6
            for (int i = 0; i < MR; i++) {
                int32_t four;
                __m256i x;

                memcpy(&four, rows[i] + offset + 4 * step, sizeof four);
                x = _mm256_xor_si256(_mm256_set1_epi32(four), flip);
                sum[i][0] = _mm256_dpbusd_avx_epi32(sum[i][0], x, b0);
                sum[i][1] = _mm256_dpbusd_avx_epi32(sum[i][1], x, b1);
            }
            b += STEP_BYTES;
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        _mm256_storeu_si256((__m256i *)(void *)&sums[i][0], sum[i][0]);
        _mm256_storeu_si256((__m256i *)(void *)&sums[i][LANES], sum[i][1]);
    }
    for (int i = 0; i < t->rows; i++) {
        brgemm_s8_store_row(t, i, MR, sums[i]);
    }
}

const brgemm_kernel brgemm_s8_6x16__avxvnni = {
    "brgemm_s8_6x16__avxvnni", BRGEMM_S8, MR, NR, 4, tile, isa_has_avxvnni};
