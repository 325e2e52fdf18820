/* AVX-VNNI: one instruction multiplies 32 pairs of bytes and adds them to 8 sums. */
#include <immintrin.h>

#include "kernels/peak/peak_variants.h"

enum { CHAINS = 12, PRODUCTS = 32, LANES = 8 };

static double run(int64_t rounds)
{
    __m256i sum[CHAINS];
    int32_t lanes[CHAINS][LANES];
    volatile char one = 1;
    __m256i factor = _mm256_set1_epi8(one);
    double total = 0.0;

#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = _mm256_setzero_si256();
        __asm__("" : "+x"(sum[i])); /* or equal chains become one */
    }
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = _mm256_dpbusd_avx_epi32(sum[i], factor, factor);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        _mm256_storeu_si256((void *)lanes[i], sum[i]);
    }
    for (int i = 0; i < CHAINS * LANES; i++) {
        total += (double)lanes[i / LANES][i % LANES];
    }
    return total;
}

const peak_kernel peak_s8__avxvnni = {"peak_s8__avxvnni", PEAK_S8, (int64_t)2 * CHAINS *PRODUCTS,
                                      run, isa_has_avxvnni};
