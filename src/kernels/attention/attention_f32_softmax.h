/* The softmax of a strip of scores, one vector at a time, for the width this file is compiled for:
 * shared by the variants that multiply in f32 and in bf16. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_SOFTMAX_H
#define KERNELS_ATTENTION_ATTENTION_F32_SOFTMAX_H

#include <math.h>

#include "kernels/attention/attention_f32.h"
#include "kernels/attention/attention_f32_vector.h"

enum { TILE_VECTORS = 2, TILE_COLUMNS = TILE_VECTORS * VEC_LANES };

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

/* What weights are computed by, and how they are kept. */
typedef struct attention_weights {
    vec_f32 (*exp2)(vec_f32 x);
    /* Stores the weights of two vectors of keys from `at` on over the scores of the row. */
    void (*store)(float *row, int64_t at, vec_f32 first, vec_f32 second);
} attention_weights;

/* What is left of weight * score of a key that does not count. */
VEC_INLINE vec_f32 attention_energy(vec_f32 weights, vec_f32 x, vec_f32 energy)
{
    return vec_fma(weights, vec_max(x, vec_set(-1000.0f)), energy);
}

/* The sum of what is stored, by lanes; with `energy`, *energy is that of weight * (score - base).
 * Where the vectors are odd in number, one of zeros is stored beyond them, which fits between
 * rows. */
VEC_INLINE vec_f32 attention_weigh_row(float *row, int64_t n, float base,
                                       const attention_weights *how, vec_f32 *energy)
{
    vec_f32 sums[2] = {{0}};
    vec_f32 energies[2] = {{0}};
    int64_t i = 0;

    for (; i + VEC_LANES < n; i += 2 * VEC_LANES) {
        vec_f32 x = vec_load(row + i) - base;
        vec_f32 y = vec_load(row + i + VEC_LANES) - base;
        vec_f32 first = how->exp2(x);
        vec_f32 second = how->exp2(y);

        how->store(row, i, first, second);
        sums[0] += first;
        sums[1] += second;
        if (energy != NULL) {
            energies[0] = attention_energy(first, x, energies[0]);
            energies[1] = attention_energy(second, y, energies[1]);
        }
    }
    if (i < n) {
        vec_f32 x = vec_load(row + i) - base;
        vec_f32 weights = how->exp2(x);

        how->store(row, i, weights, vec_set(0.0f));
        sums[0] += weights;
        if (energy != NULL) {
            energies[0] = attention_energy(weights, x, energies[0]);
        }
    }
    if (energy != NULL) {
        *energy = energies[0] + energies[1];
    }
    return sums[0] + sums[1];
}

/* `with_energy` is a constant at every call. */
VEC_INLINE void attention_weigh(float *s, int rows, int64_t n, attention_rows *state,
                                const attention_weights *how, bool with_energy)
{
    vec_f32 lanes[VEC_LANES]; /* of each row */
    vec_f32 energy[VEC_LANES] = {{0}};
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
        lanes[r] = attention_weigh_row(s + r * ATTENTION_PITCH, n, base[r], how,
                                       with_energy ? &energy[r] : NULL);
    }
    if (with_energy) {
        /* Scores are counted from the new largest one: there was none before the first. */
        vec_f32 moved = vec_select(before == -INFINITY, vec_set(0.0f), before - vec_load(base));

        vec_store(state->energy,
                  vec_fma(moved, vec_load(state->sum), vec_load(state->energy)) * decay +
                      attention_across(energy, true));
    }
    vec_store(state->most, most);
    vec_store(state->decay, decay);
    vec_store(state->sum, vec_load(state->sum) * decay + attention_across(lanes, true));
}

VEC_INLINE void attention_normalise(float *s, int rows, int64_t n, const attention_rows *state,
                                    const attention_weights *how)
{
    for (int r = 0; r < rows; r++) {
        float *row = s + r * ATTENTION_PITCH;
        vec_f32 base = attention_base(vec_set(state->most[r]));
        float factor = state->sum[r] == 0.0f ? 0.0f : 1.0f / state->sum[r];

        attention_close_row(row, n);
        for (int64_t i = 0; i < n; i += VEC_LANES) {
            vec_store(row + i, how->exp2(vec_load(row + i) - base) * factor);
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
