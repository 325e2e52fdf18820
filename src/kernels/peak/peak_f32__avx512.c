/* AVX-512: 16 chains of fused multiply-adds, four chains of additions for reading. */
#include <immintrin.h>

#include "kernels/peak/peak_variants.h"

enum { CHAINS = 16, LANES = 16, READ_CHAINS = 4, LINE = 64 };

static double run(int64_t rounds)
{
    __m512 sum[CHAINS];
    volatile float one = 1.0f;
    __m512 factor = _mm512_set1_ps(one);
    double total = 0.0;

#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = _mm512_setzero_ps();
        __asm__("" : "+v"(sum[i])); /* or equal chains become one */
    }
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = _mm512_fmadd_ps(factor, factor, sum[i]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++) {
        total += (double)_mm512_reduce_add_ps(sum[i]);
    }
    return total;
}

static uint64_t read_lines(const void *lines, size_t count)
{
    const uint8_t *from = lines;
    __m512i sum[READ_CHAINS];
    size_t i = 0;

    for (int c = 0; c < READ_CHAINS; c++) {
        sum[c] = _mm512_setzero_si512();
    }
    for (; i + READ_CHAINS <= count; i += READ_CHAINS) {
#pragma GCC unroll 4
        for (int c = 0; c < READ_CHAINS; c++) {
            sum[c] = _mm512_add_epi64(sum[c], _mm512_loadu_si512(from + (i + (size_t)c) * LINE));
        }
    }
    for (; i < count; i++) {
        sum[0] = _mm512_add_epi64(sum[0], _mm512_loadu_si512(from + i * LINE));
    }
    sum[0] = _mm512_add_epi64(_mm512_add_epi64(sum[0], sum[1]), _mm512_add_epi64(sum[2], sum[3]));
    return (uint64_t)_mm512_reduce_add_epi64(sum[0]);
}

const peak_kernel peak_f32__avx512 = {"peak_f32__avx512", PEAK_F32, (int64_t)2 * CHAINS *LANES, run,
                                      NULL};
const peak_reader peak_read__avx512 = {"peak_read__avx512", read_lines};
