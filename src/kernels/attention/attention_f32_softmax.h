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
    /* Sixteenths from a table, and what is left in [-1/32, 1/32] by a short polynomial. */
    vec_f32 sum = x + VEC_SIXTEENTHS;
    __mmask16 normal = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLE_UQ);
    vec_f32 f = (vec_f32)_mm512_maskz_sub_ps(normal, (__m512)x, (__m512)(sum - VEC_SIXTEENTHS));
    __m512i shift = _mm512_slli_epi32((__m512i)sum, 19);
    __m512i entry = (__m512i)vec_power_entry(sum);
    vec_f32 power = (vec_f32)_mm512_maskz_add_epi32(normal, entry, shift);
    vec_f32 p = vec_fma(f, vec_set(0.055503346f), vec_set(0.240234271f));

    p = vec_fma(p, f, vec_set(0.693147182f));
    return vec_fma(f * power, p, power);
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

#if defined(__AVX512F__)

VEC_INLINE float attention_largest_lane(vec_f32 x)
{
    return _mm512_reduce_max_ps((__m512)x);
}

VEC_INLINE float attention_sum_lanes(vec_f32 x)
{
    return _mm512_reduce_add_ps((__m512)x);
}

#else

VEC_INLINE float attention_largest_lane(vec_f32 x)
{
    float most = x[0];

    for (int i = 1; i < VEC_LANES; i++) {
        most = x[i] > most ? x[i] : most;
    }
    return most;
}

VEC_INLINE float attention_sum_lanes(vec_f32 x)
{
    float lanes[VEC_LANES];

    vec_store(lanes, x);
    for (int half = VEC_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
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

/* The largest that is no NaN, at least `least`. */
VEC_INLINE float attention_most(const float *row, int64_t n, float least)
{
    vec_f32 most[2] = {vec_set(least), vec_set(least)};
    int64_t i = 0;

    /* vec_max drops a NaN in its second operand. */
    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        most[0] = vec_max(most[0], vec_load(row + i));
        most[1] = vec_max(most[1], vec_load(row + i + VEC_LANES));
    }
    for (; i < n; i += VEC_LANES) {
        most[0] = vec_max(most[0], vec_load(row + i));
    }
    return attention_largest_lane(vec_max(most[0], most[1]));
}

/* What scores are compared with: a row that has seen nothing yet must not become NaN. */
VEC_INLINE float attention_base(float most)
{
    return most == -INFINITY ? 0.0f : most;
}

/* Stores the weights of the keys from `at` on of a row whose scores these were. */
typedef void attention_store(float *row, int64_t at, vec_f32 weights);

/* The sum of what is stored. */
VEC_INLINE float attention_weigh_row(float *row, int64_t n, float base, attention_store *store)
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
    return attention_sum_lanes(sums[0] + sums[1]);
}

VEC_INLINE void attention_weigh(float *s, int rows, int64_t n, attention_rows *state,
                                attention_store *store)
{
    float before[ATTENTION_MOST_MR];
    float decay[ATTENTION_MOST_MR];

    for (int r = 0; r < rows; r++) {
        float *row = s + r * ATTENTION_PITCH;

        attention_close_row(row, n);
        before[r] = state->most[r];
        state->most[r] = attention_most(row, n, before[r]);
        decay[r] = before[r] - attention_base(state->most[r]);
    }
    for (int r = rows; r < ATTENTION_MOST_MR; r++) {
        decay[r] = 0.0f;
    }
    for (int r = 0; r < ATTENTION_MOST_MR; r += VEC_LANES) {
        vec_store(state->decay + r, attention_exp2(vec_load(decay + r)));
    }
    for (int r = 0; r < rows; r++) {
        float sum =
            attention_weigh_row(s + r * ATTENTION_PITCH, n, attention_base(state->most[r]), store);

        state->sum[r] = state->sum[r] * state->decay[r] + sum;
    }
}

static void attention_normalise(float *s, int rows, int64_t n, const attention_rows *state)
{
    for (int r = 0; r < rows; r++) {
        float *row = s + r * ATTENTION_PITCH;
        float base = attention_base(state->most[r]);
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

static void attention_finish(const float *o, int64_t size, float factor, float *to)
{
    int64_t i = 0;

    for (; i + VEC_LANES <= size; i += VEC_LANES) {
        vec_store(to + i, vec_load(o + i) * factor);
    }
    if (i < size) {
        vec_store_part(to + i, vec_load_part(o + i, size - i) * factor, size - i);
    }
}

#endif
