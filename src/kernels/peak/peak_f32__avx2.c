/* AVX2: 12 chains of fused multiply-adds hide a latency of 5 on two pipes. Reading takes four
 * chains of additions. */
#include <immintrin.h>

#include "kernels/peak/peak_variants.h"

enum { CHAINS = 12, LANES = 8, READ_CHAINS = 4, LINE = 64 };

static double run(int64_t rounds)
{
    __m256 sum[CHAINS];
    float lanes[CHAINS][LANES];
    volatile float one = 1.0f;
    __m256 factor = _mm256_set1_ps(one);
    double total = 0.0;

#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = _mm256_setzero_ps();
        __asm__("" : "+x"(sum[i])); /* or equal chains become one */
    }
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = _mm256_fmadd_ps(factor, factor, sum[i]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        _mm256_storeu_ps(lanes[i], sum[i]);
    }
    for (int i = 0; i < CHAINS * LANES; i++) {
        total += (double)lanes[i / LANES][i % LANES];
    }
    return total;
}

static uint64_t read_lines(const void *lines, size_t count)
{
    const uint8_t *from = lines;
    __m256i sum[READ_CHAINS];
    uint64_t words[LANES / 2];
    size_t i = 0;

    for (int c = 0; c < READ_CHAINS; c++) {
        sum[c] = _mm256_setzero_si256();
    }
    for (; i + 2 <= count; i += 2) {
#pragma GCC unroll 4
        for (int c = 0; c < READ_CHAINS; c++) {
            sum[c] = _mm256_add_epi64(
                sum[c], _mm256_loadu_si256((const void *)(from + i * LINE + (size_t)c * 32)));
        }
    }
    for (; i < count; i++) {
        sum[0] = _mm256_add_epi64(sum[0], _mm256_loadu_si256((const void *)(from + i * LINE)));
        sum[1] = _mm256_add_epi64(sum[1], _mm256_loadu_si256((const void *)(from + i * LINE + 32)));
    }
    sum[0] = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
    _mm256_storeu_si256((void *)words, sum[0]);
    return words[0] + words[1] + words[2] + words[3];
}

const peak_kernel peak_f32__avx2 = {"peak_f32__avx2", PEAK_F32, (int64_t)2 * CHAINS *LANES, run,
                                    NULL};
const peak_reader peak_read__avx2 = {"peak_read__avx2", read_lines};
