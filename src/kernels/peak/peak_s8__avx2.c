/* AVX2: exact products of bytes are those of 16-bit numbers, 16 pairs in two instructions. */
#include <immintrin.h>

#include "kernels/peak/peak_variants.h"

enum { CHAINS = 12, PRODUCTS = 16, LANES = 8 };

static double run(int64_t rounds)
{
    __m256i sum[CHAINS];
    int32_t lanes[CHAINS][LANES];
    volatile short one = 1;
    __m256i left = _mm256_set1_epi16(one);
    __m256i right = left;
    double total = 0.0;

#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = _mm256_setzero_si256();
        __asm__("" : "+x"(sum[i])); /* or equal chains become one */
    }
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+x"(left)); /* or all share one product */
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(left, right));
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

const peak_kernel peak_s8__avx2 = {"peak_s8__avx2", PEAK_S8, (int64_t)2 * CHAINS *PRODUCTS, run,
                                   NULL};
