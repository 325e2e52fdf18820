/* AVX-512 VNNI: one instruction multiplies 64 pairs of bytes and adds them to 16 sums. */
#include <immintrin.h>

#include "kernels/peak/peak_variants.h"

enum { CHAINS = 16, PRODUCTS = 64 };

static double run(int64_t rounds)
{
    __m512i sum[CHAINS];
    volatile char one = 1;
    __m512i factor = _mm512_set1_epi8(one);
    double total = 0.0;

#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = _mm512_setzero_si512();
        __asm__("" : "+v"(sum[i])); /* or equal chains become one */
    }
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = _mm512_dpbusd_epi32(sum[i], factor, factor);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++) {
        total += (double)_mm512_reduce_add_epi32(sum[i]);
    }
    return total;
}

const peak_kernel peak_s8__avx512vnni = {"peak_s8__avx512vnni", PEAK_S8,
                                         (int64_t)2 * CHAINS *PRODUCTS, run, NULL};
