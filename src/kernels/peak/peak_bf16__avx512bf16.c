/* AVX-512 BF16: one instruction multiplies 32 pairs and adds them to 16 sums. */
#include <immintrin.h>

#include "kernels/peak/peak_variants.h"

enum { CHAINS = 16, PRODUCTS = 32, ONE_TWICE = 0x3F803F80 };

static double run(int64_t rounds)
{
    __m512 sum[CHAINS];
    volatile int32_t ones = ONE_TWICE;
    __m512bh factor = (__m512bh)_mm512_set1_epi32(ones);
    double total = 0.0;

#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++) {
        sum[i] = _mm512_setzero_ps();
        __asm__("" : "+v"(sum[i])); /* or equal chains become one */
    }
    for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = _mm512_dpbf16_ps(sum[i], factor, factor);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++) {
        total += (double)_mm512_reduce_add_ps(sum[i]);
    }
    return total;
}

const peak_kernel peak_bf16__avx512bf16 = {"peak_bf16__avx512bf16", PEAK_BF16,
                                           (int64_t)2 * CHAINS *PRODUCTS, run, isa_has_bf16};
