/* AVX-VNNI tile of 6 rows x 16 columns: 12 accumulators, 2 registers of B, 1 broadcast of A. */
#include <immintrin.h>

#include "kernels/gemm/gemm_s8_finish_body.h"
#include "kernels/gemm/gemm_s8_variants.h"

enum { MR = 6, NR = 16, LANES = 8, VECTORS = NR / LANES };

/* `a_is_unsigned` is a constant at every call. Rows that the tile lacks are computed from the
 * panel's padding and dropped. */
static inline __attribute__((always_inline)) void tile_of(const gemm_s8_tile *t, bool a_is_unsigned)
{
    __m256i sum[MR][VECTORS];
    int32_t sums[MR][NR];
    const uint8_t *a = t->a;
    const uint8_t *b = t->b;

#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        sum[i][0] = _mm256_setzero_si256();
        sum[i][1] = _mm256_setzero_si256();
    }
    for (int64_t step = 0; step < t->steps; step++) {
        __m256i b0 = _mm256_loadu_si256((const __m256i *)b);
        __m256i b1 = _mm256_loadu_si256((const __m256i *)(b + LANES * GEMM_S8_STEP));

#pragma GCC unroll 6
        for (int i = 0; i < MR; i++) {
            int32_t four;
            __m256i left;

            memcpy(&four, a + i * GEMM_S8_STEP, sizeof four);
            left = _mm256_set1_epi32(four);
            sum[i][0] = a_is_unsigned ? _mm256_dpbusd_avx_epi32(sum[i][0], left, b0)
                                      : _mm256_dpbusd_avx_epi32(sum[i][0], b0, left);
            sum[i][1] = a_is_unsigned ? _mm256_dpbusd_avx_epi32(sum[i][1], left, b1)
                                      : _mm256_dpbusd_avx_epi32(sum[i][1], b1, left);
        }
        a += MR * GEMM_S8_STEP;
        b += NR * GEMM_S8_STEP;
    }
#pragma GCC unroll 6
    for (int i = 0; i < MR; i++) {
        _mm256_storeu_si256((__m256i *)&sums[i][0], sum[i][0]);
        _mm256_storeu_si256((__m256i *)&sums[i][LANES], sum[i][1]);
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

const gemm_s8_kernel gemm_s8_6x16__avxvnni = {"gemm_s8_6x16__avxvnni", MR, NR, tile,
                                              isa_has_avxvnni};
