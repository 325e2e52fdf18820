/* The softmax of a strip of scores, one vector at a time, for the width this file is compiled for:
 * shared by the variants that multiply in f32 and in bf16. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_SOFTMAX_H
#define KERNELS_ATTENTION_ATTENTION_F32_SOFTMAX_H

#include <math.h>

#include "kernels/attention/attention_f32.h"
#include "kernels/elementwise/elementwise_f32_math.h"

enum { TILE_VECTORS = 2, TILE_COLUMNS = TILE_VECTORS * VEC_LANES };

/* e^d for d <= 0: at most 1.1 units in the last place, zero from -104 on; NaN stays. */
VEC_INLINE vec_f32 attention_exp(vec_f32 d)
{
    vec_exponential e = vec_exp_parts(vec_max(d, vec_set(-104.0f)), vec_set(0.0f));

    return vec_scale(e.fraction + 1.0f, e.exponent);
}

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
    float lanes[VEC_LANES];
    int64_t i = 0;

    /* vec_max drops a NaN in its second operand. */
    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        most[0] = vec_max(most[0], vec_load(row + i));
        most[1] = vec_max(most[1], vec_load(row + i + VEC_LANES));
    }
    for (; i < n; i += VEC_LANES) {
        most[0] = vec_max(most[0], vec_load(row + i));
    }
    vec_store(lanes, vec_max(most[0], most[1]));
    for (int half = VEC_LANES / 2; half > 0; half /= 2) {
        for (int lane = 0; lane < half; lane++) {
            lanes[lane] = lanes[lane] > lanes[lane + half] ? lanes[lane] : lanes[lane + half];
        }
    }
    return lanes[0];
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
    float lanes[VEC_LANES];
    int64_t i = 0;

    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        vec_f32 first = attention_exp(vec_load(row + i) - base);
        vec_f32 second = attention_exp(vec_load(row + i + VEC_LANES) - base);

        store(row, i, first);
        store(row, i + VEC_LANES, second);
        sums[0] += first;
        sums[1] += second;
    }
    for (; i < n; i += VEC_LANES) {
        vec_f32 weights = attention_exp(vec_load(row + i) - base);

        store(row, i, weights);
        sums[0] += weights;
    }
    vec_store(lanes, sums[0] + sums[1]);
    for (int half = VEC_LANES / 2; half > 0; half /= 2) {
        for (int lane = 0; lane < half; lane++) {
            lanes[lane] += lanes[lane + half];
        }
    }
    return lanes[0];
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
        vec_store(state->decay + r, attention_exp(vec_load(decay + r)));
    }
    for (int r = 0; r < rows; r++) {
        float sum = attention_weigh_row(s + r * ATTENTION_PITCH, n,
                                        attention_base(state->most[r]), store);

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
            vec_store(row + i, attention_exp(vec_load(row + i) - base) * factor);
        }
    }
}

static void attention_add(float *s, const float *mask, int64_t n)
{
    int64_t i = 0;

    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(s + i, vec_load(s + i) + vec_load(mask + i));
    }
    if (i < n) {
        vec_store_part(s + i, vec_load_part(s + i, n - i) + vec_load_part(mask + i, n - i), n - i);
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
