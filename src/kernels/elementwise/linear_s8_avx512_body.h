/* Sums of quantised bytes written for AVX-512. */
#ifndef KERNELS_ELEMENTWISE_LINEAR_S8_AVX512_BODY_H
#define KERNELS_ELEMENTWISE_LINEAR_S8_AVX512_BODY_H

#include <immintrin.h>

#include "kernels/elementwise/linear_s8_body.h"
#include "kernels/elementwise/linear_s8_variants.h"

enum { BYTES = 64, LANES = 16 };

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* What each operand's bytes are multiplied by, and what the result is moved by. */
typedef struct sum_terms {
    __m512i a_zero, b_zero;
    __m512 a_ratio, b_ratio;
    __m512i zero, low, high, flip;
} sum_terms;

ALWAYS_INLINE __m512 scaled(const uint8_t *bytes, bool is_signed, __m512i zero, __m512 ratio)
{
    __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    __m512i whole = is_signed ? _mm512_cvtepi8_epi32(sixteen) : _mm512_cvtepu8_epi32(sixteen);

    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(whole, zero)), ratio);
}

ALWAYS_INLINE __m512i sum_sixteen(const sum_terms *t, const uint8_t *a, const uint8_t *b,
                                  bool is_signed)
{
    return _mm512_cvtps_epi32(_mm512_add_ps(scaled(a, is_signed, t->a_zero, t->a_ratio),
                                            scaled(b, is_signed, t->b_zero, t->b_ratio)));
}

/* Whole vectors; returns how many bytes were done. `is_signed` is a constant at every call. */
ALWAYS_INLINE int64_t sum_vectors(const sum_terms *t, uint8_t *to, const uint8_t *a,
                                  const uint8_t *b, int64_t n, bool is_signed)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    int64_t i = 0;

    for (; i + BYTES <= n; i += BYTES) {
        __m512i q[4];
        __m512i bytes;

#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            q[v] = sum_sixteen(t, a + i + v * LANES, b + i + v * LANES, is_signed);
        }
        bytes = _mm512_packus_epi16(_mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), t->zero),
                                    _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), t->zero));
        bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, t->low), t->high);
        bytes = _mm512_permutexvar_epi32(order, _mm512_xor_si512(bytes, t->flip));
        _mm512_storeu_si512(to + i, bytes);
    }
    return i;
}

/* Ratios so large that a sum might not fit 32 bits are left to the portable loop. Results are made
 * unsigned, and flipped where they are not. */
static void add(uint8_t *to, const uint8_t *a, linear_s8_grid a_grid, const uint8_t *b,
                linear_s8_grid b_grid, int64_t n, float scale, quantize_target target)
{
    const float most = 1 << 20;
    float a_ratio = a_grid.scale / scale;
    float b_ratio = b_grid.scale / scale;
    int to_unsigned = target.low < 0 ? 128 : 0;
    sum_terms t = {_mm512_set1_epi32(a_grid.zero),
                   _mm512_set1_epi32(b_grid.zero),
                   _mm512_set1_ps(a_ratio),
                   _mm512_set1_ps(b_ratio),
                   _mm512_set1_epi16((short)(target.zero + to_unsigned)),
                   _mm512_set1_epi8((char)(target.low + to_unsigned)),
                   _mm512_set1_epi8((char)(target.high + to_unsigned)),
                   _mm512_set1_epi8((char)to_unsigned)};
    int64_t done = 0;

    if (a_ratio > -most && a_ratio < most && b_ratio > -most && b_ratio < most &&
        a_grid.is_signed == b_grid.is_signed) {
        done = a_grid.is_signed ? sum_vectors(&t, to, a, b, n, true)
                                : sum_vectors(&t, to, a, b, n, false);
    }
    linear_s8_add(to + done, a + done, a_grid, b + done, b_grid, n - done, scale, target);
}

#endif
