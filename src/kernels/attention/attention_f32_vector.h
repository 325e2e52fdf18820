/* What softmax does to vectors, for the width this file is compiled for. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_VECTOR_H
#define KERNELS_ATTENTION_ATTENTION_F32_VECTOR_H

#include <math.h>

#include "kernels/elementwise/elementwise_f32_vector.h"

/* Scores are in units of log 2, so that their exponential is a power of two. */
#define ATTENTION_LOG2E 1.44269504f

/* 2^x for x <= 0: at most 2 units in the last place; what is below the normal numbers
 * may be zero; NaN stays. Coefficients: tools/vecmath/derive.py. */
VEC_INLINE vec_f32 attention_exp2(vec_f32 x)
{
#if defined(__AVX512F__)
    /* x = floor(x) + f. Both instructions know -infinity, and fewer of others are left than with a
     * table: on AMD's processors, whose vectors of 512 bits take two turns, that is what counts. */
    static const float c[] = {0.693151295f, 0.240164593f, 0.0557995141f, 0.00901748147f,
                              0.00186695158f};
    vec_f32 f = (vec_f32)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF);
    vec_f32 p = vec_set(c[4]);

#pragma GCC unroll 4
    for (int i = 3; i >= 0; i--) {
        p = vec_fma(p, f, vec_set(c[i]));
    }
    return (vec_f32)_mm512_scalef_ps((__m512)vec_fma(p, f, vec_set(1.0f)), (__m512)x);
#else
    static const float c[] = {0.693147182f,   0.240226477f,   0.0555035993f,
                              0.00961850584f, 0.00133908063f, 0.000153264627f};
    const vec_f32 rounder = vec_set(12582912.0f); /* 1.5 * 2^23 */
    vec_f32 near = vec_max(x, vec_set(-200.0f));
    vec_f32 n = (near + rounder) - rounder;
    vec_f32 f = near - n;
    vec_f32 p = vec_set(c[5]);

#pragma GCC unroll 5
    for (int i = 4; i >= 0; i--) {
        p = vec_fma(p, f, vec_set(c[i]));
    }
    return vec_scale(vec_fma(p, f, vec_set(1.0f)), n);
#endif
}

/* ---- across the lanes of a vector per row ---- */

#if defined(__AVX512F__)

VEC_INLINE vec_f32 attention_fold(__m512i one, __m512i other, bool is_sum)
{
    return is_sum ? (vec_f32)one + (vec_f32)other
                  : (vec_f32)_mm512_max_ps((__m512)one, (__m512)other);
}

/* Lane r of the result: the sum of rows[r], or the largest of its lanes. */
VEC_INLINE vec_f32 attention_across(const vec_f32 rows[VEC_LANES], bool is_sum)
{
    vec_f32 x[8];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        __m512i a = (__m512i)rows[2 * i];
        __m512i b = (__m512i)rows[2 * i + 1];

        x[i] = attention_fold(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b), is_sum);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i a = (__m512i)x[2 * i];
        __m512i b = (__m512i)x[2 * i + 1];

        x[i] = attention_fold(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b), is_sum);
    }
#pragma GCC unroll 3
    for (int i = 4; i > 1; i /= 2) {
#pragma GCC unroll 2
        for (int j = 0; j < i / 2; j++) {
            __m512i a = (__m512i)x[2 * j];
            __m512i b = (__m512i)x[2 * j + 1];

            x[j] = attention_fold(_mm512_shuffle_i32x4(a, b, 0x88),
                                  _mm512_shuffle_i32x4(a, b, 0xDD), is_sum);
        }
    }
    return x[0];
}

#else

VEC_INLINE vec_f32 attention_across(const vec_f32 rows[VEC_LANES], bool is_sum)
{
    vec_f32 result;

    for (int r = 0; r < VEC_LANES; r++) {
        float x = rows[r][0];

        for (int i = 1; i < VEC_LANES; i++) {
            x = is_sum ? x + rows[r][i] : (rows[r][i] > x ? rows[r][i] : x);
        }
        result[r] = x;
    }
    return result;
}

#endif

#endif
