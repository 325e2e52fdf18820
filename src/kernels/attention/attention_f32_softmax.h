/* The softmax of a strip of scores, one vector at a time, for the width this file is compiled for:
 * shared by the variants that multiply in f32 and in bf16. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_SOFTMAX_H
#define KERNELS_ATTENTION_ATTENTION_F32_SOFTMAX_H

#include <math.h>

#include "kernels/attention/attention_f32.h"
#include "kernels/elementwise/elementwise_f32_vector.h"

enum { TILE_VECTORS = 2, TILE_COLUMNS = TILE_VECTORS * VEC_LANES };

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

/* Makes what lies between a row's last score and the end of its vector count for nothing. */
VEC_INLINE void attention_close_row(float *row, int64_t n)
{
    int64_t whole = n / VEC_LANES * VEC_LANES;

    if (whole < n) {
        vec_f32 rest = vec_load(row + whole);

        vec_store(row + whole, vec_set(-INFINITY));
        vec_store_part(row + whole, rest, n - whole);
    }
}

/* The largest of every lane's scores that is no NaN. */
VEC_INLINE vec_f32 attention_most(const float *row, int64_t n)
{
    vec_f32 most[2] = {vec_set(-INFINITY), vec_set(-INFINITY)};
    int64_t i = 0;

    /* vec_max drops a NaN in its second operand. */
    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        most[0] = vec_max(most[0], vec_load(row + i));
        most[1] = vec_max(most[1], vec_load(row + i + VEC_LANES));
    }
    for (; i < n; i += VEC_LANES) {
        most[0] = vec_max(most[0], vec_load(row + i));
    }
    return vec_max(most[0], most[1]);
}

/* What scores are compared with: a row that has seen nothing yet must not become NaN. */
VEC_INLINE vec_f32 attention_base(vec_f32 most)
{
    return vec_select(most == -INFINITY, vec_set(0.0f), most);
}

/* Stores the weights of the keys from `at` on of a row whose scores these were. */
typedef void attention_store(float *row, int64_t at, vec_f32 weights);

/* The sum of what is stored, by lanes. */
VEC_INLINE vec_f32 attention_weigh_row(float *row, int64_t n, float base, attention_store *store)
{
    vec_f32 sums[2] = {{0}};
    int64_t i = 0;

    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        vec_f32 first = attention_exp2(vec_load(row + i) - base);
        vec_f32 second = attention_exp2(vec_load(row + i + VEC_LANES) - base);

        store(row, i, first);
        store(row, i + VEC_LANES, second);
        sums[0] += first;
        sums[1] += second;
    }
    for (; i < n; i += VEC_LANES) {
        vec_f32 weights = attention_exp2(vec_load(row + i) - base);

        store(row, i, weights);
        sums[0] += weights;
    }
    return sums[0] + sums[1];
}

VEC_INLINE void attention_weigh(float *s, int rows, int64_t n, attention_rows *state,
                                attention_store *store)
{
    vec_f32 lanes[VEC_LANES]; /* of each row */
    float base[VEC_LANES];
    vec_f32 before = vec_load(state->most);
    vec_f32 most;
    vec_f32 decay;

    for (int r = 0; r < rows; r++) {
        attention_close_row(s + r * ATTENTION_PITCH, n);
        lanes[r] = attention_most(s + r * ATTENTION_PITCH, n);
    }
    for (int r = rows; r < VEC_LANES; r++) {
        lanes[r] = vec_set(-INFINITY);
    }
    most = vec_max(before, attention_across(lanes, false));
    vec_store(base, attention_base(most));
    decay = attention_exp2(before - vec_load(base));
    for (int r = 0; r < rows; r++) {
        lanes[r] = attention_weigh_row(s + r * ATTENTION_PITCH, n, base[r], store);
    }
    vec_store(state->most, most);
    vec_store(state->decay, decay);
    vec_store(state->sum, vec_load(state->sum) * decay + attention_across(lanes, true));
}

static void attention_normalise(float *s, int rows, int64_t n, const attention_rows *state)
{
    for (int r = 0; r < rows; r++) {
        float *row = s + r * ATTENTION_PITCH;
        vec_f32 base = attention_base(vec_set(state->most[r]));
        float factor = state->sum[r] == 0.0f ? 0.0f : 1.0f / state->sum[r];

        attention_close_row(row, n);
        for (int64_t i = 0; i < n; i += VEC_LANES) {
            vec_store(row + i, attention_exp2(vec_load(row + i) - base) * factor);
        }
    }
}

/* A mask in the units of scores. Floats that are nearly the smallest, which stand for -infinity,
 * must not become that: a row of nothing else has a softmax. */
VEC_INLINE vec_f32 attention_mask_units(vec_f32 mask)
{
    vec_f32 units = vec_max(mask, vec_set(-2e38f)) * ATTENTION_LOG2E;

    return vec_select(mask == -INFINITY, mask, units);
}

static void attention_add(float *s, const float *mask, int64_t n)
{
    int64_t i = 0;

    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(s + i, vec_load(s + i) + attention_mask_units(vec_load(mask + i)));
    }
    if (i < n) {
        vec_f32 rest = attention_mask_units(vec_load_part(mask + i, n - i));

        vec_store_part(s + i, vec_load_part(s + i, n - i) + rest, n - i);
    }
}

/* to = from * factor */
VEC_INLINE void attention_scale(const float *from, int64_t size, float factor, float *to)
{
    int64_t i = 0;

    for (; i + VEC_LANES <= size; i += VEC_LANES) {
        vec_store(to + i, vec_load(from + i) * factor);
    }
    if (i < size) {
        vec_store_part(to + i, vec_load_part(from + i, size - i) * factor, size - i);
    }
}

static void attention_finish(const float *o, int64_t pitch, int rows, int64_t size,
                             const float *factors, float *const *to)
{
    for (int r = 0; r < rows; r++) {
        attention_scale(o + r * pitch, size, factors[r], to[r]);
    }
}

#endif
