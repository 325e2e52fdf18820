/* Attention of one query to listed rows, compiled once per instruction set by the files that
 * include this one. Rows of bf16 are widened by halves: the even elements and the odd ones. */
#ifndef KERNELS_FILTER_FILTER_ATTEND_BODY_H
#define KERNELS_FILTER_FILTER_ATTEND_BODY_H

#include "kernels/attention/attention_f32_vector.h"
#include "kernels/filter/filter.h"

enum {
    ATTEND_BLOCK = 128, /* keys whose weights are held together: their values stay in L1 or L2 */
    ATTEND_AHEAD = 64,  /* keys from asking for a row to reading it */
    ATTEND_PAIR = 2 * VEC_LANES,
    ATTEND_LINE = 64
};

/* Elements [0, ATTEND_PAIR) as two vectors. */
VEC_INLINE void attend_load(const char *from, bool is_bf16, vec_f32 x[2])
{
    if (is_bf16) {
        vec_u32 both;

        memcpy(&both, from, sizeof both);
        x[0] = (vec_f32)(both << 16);
        x[1] = (vec_f32)(both & 0xFFFF0000U);
    } else {
        memcpy(x, from, 2 * sizeof *x);
    }
}

/* Elements of a row in the order of attend_load, or back. */
VEC_INLINE void attend_reorder(const float *from, int64_t n, bool is_bf16, bool is_back, float *to)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i % ATTEND_PAIR;
        int64_t place = is_bf16 ? i - at + at % 2 * VEC_LANES + at / 2 : i;

        if (is_back) {
            to[i] = from[place];
        } else {
            to[place] = from[i];
        }
    }
}

typedef struct attend_rows {
    const char *k, *v;
    int64_t row_bytes;
    int64_t pitch; /* elements */
    const int32_t *index;
    const float *bias;
    int64_t n;
} attend_rows;

VEC_INLINE int64_t attend_offset(const attend_rows *a, int64_t i)
{
    return (a->index != NULL ? a->index[i] : i) * a->row_bytes;
}

/* Far enough ahead for memory; blocks of keys and values fit into L1. */
VEC_INLINE void attend_ask(const char *row, int64_t bytes)
{
    for (int64_t b = 0; b < bytes; b += ATTEND_LINE) {
        __builtin_prefetch(row + b, 0, 3);
    }
}

/* Scores of keys [first, first + n) and their largest; whole vectors, -infinity beyond. */
VEC_INLINE float attend_scores(const attend_rows *a, bool is_bf16, const float *q, int64_t first,
                               int64_t n, float *s)
{
    int64_t step = ATTEND_PAIR * (is_bf16 ? 2 : 4);
    float most = -INFINITY;

    for (int64_t i = 0; i < n; i += VEC_LANES) {
        vec_f32 sums[VEC_LANES];

        for (int r = 0; r < VEC_LANES; r++) {
            int64_t key = first + (i + r < n ? i + r : n - 1);
            const char *row = a->k + attend_offset(a, key);
            vec_f32 even = vec_set(0.0f);
            vec_f32 odd = vec_set(0.0f);

            if (a->index != NULL) {
                int64_t next = key + ATTEND_AHEAD;

                attend_ask(a->k + attend_offset(a, next < a->n ? next : a->n - 1), a->row_bytes);
                attend_ask(a->v + attend_offset(a, key), a->row_bytes);
            }
            for (int64_t t = 0; t < a->pitch; t += ATTEND_PAIR, row += step) {
                vec_f32 x[2];

                attend_load(row, is_bf16, x);
                even = vec_fma(x[0], vec_load(q + t), even);
                odd = vec_fma(x[1], vec_load(q + t + VEC_LANES), odd);
            }
            sums[r] = even + odd;
        }
        vec_store(s + i, attention_across(sums, true));
        for (int64_t r = 0; a->bias != NULL && r < VEC_LANES && i + r < n; r++) {
            s[i + r] += a->bias[first + i + r];
        }
        for (int64_t r = n - i; r < VEC_LANES; r++) {
            s[i + r] = -INFINITY;
        }
        for (int64_t r = 0; r < VEC_LANES; r++) {
            most = s[i + r] > most ? s[i + r] : most;
        }
    }
    return most;
}

/* o[0, pairs * ATTEND_PAIR) = decay * o + weights V, from byte `at` of rows on. */
VEC_INLINE void attend_combine(const attend_rows *a, bool is_bf16, int64_t first, int64_t n,
                               const float *weights, float decay, int64_t at, int pairs, float *o)
{
    int64_t step = ATTEND_PAIR * (is_bf16 ? 2 : 4);
    vec_f32 sum[4];

#pragma GCC unroll 4
    for (int i = 0; i < 2 * pairs; i++) {
        sum[i] = vec_load(o + (int64_t)i * VEC_LANES) * vec_set(decay);
    }
    for (int64_t j = 0; j < n; j++) {
        const char *row = a->v + attend_offset(a, first + j) + at;
        vec_f32 w = vec_set(weights[j]);

#pragma GCC unroll 2
        for (int i = 0; i < pairs; i++) {
            vec_f32 x[2];

            attend_load(row + i * step, is_bf16, x);
            sum[2 * i] = vec_fma(x[0], w, sum[2 * i]);
            sum[2 * i + 1] = vec_fma(x[1], w, sum[2 * i + 1]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 2 * pairs; i++) {
        vec_store(o + (int64_t)i * VEC_LANES, sum[i]);
    }
}

VEC_INLINE void attend_values(const attend_rows *a, bool is_bf16, int64_t first, int64_t n,
                              const float *weights, float decay, float *o)
{
    int64_t bytes = is_bf16 ? 2 : 4;
    int64_t t = 0;

    for (; t + 2 * ATTEND_PAIR <= a->pitch; t += 2 * ATTEND_PAIR) {
        attend_combine(a, is_bf16, first, n, weights, decay, t * bytes, 2, o + t);
    }
    if (t < a->pitch) {
        attend_combine(a, is_bf16, first, n, weights, decay, t * bytes, 1, o + t);
    }
}

VEC_INLINE void attend_all(const attend_rows *a, bool is_bf16, const float *q, float *out)
{
    float order[FILTER_MOST_SIZE];
    float o[FILTER_MOST_SIZE] = {0};
    float s[ATTEND_BLOCK];
    float most = -INFINITY;
    float sum = 0.0f;

    attend_reorder(q, a->pitch, is_bf16, false, order);
    for (int64_t first = 0; first < a->n; first += ATTEND_BLOCK) {
        int64_t n = a->n - first < ATTEND_BLOCK ? a->n - first : ATTEND_BLOCK;
        float block = attend_scores(a, is_bf16, order, first, n, s);
        float top = block > most ? block : most;
        vec_f32 total = vec_set(0.0f);
        float decay = most == -INFINITY ? 0.0f : exp2f(most - top);

        most = top;
        for (int64_t i = 0; i < n; i += VEC_LANES) {
            vec_f32 w = attention_exp2(vec_load(s + i) - vec_set(most));

            vec_store(s + i, w);
            total = total + w;
        }
        sum *= decay;
        for (int i = 0; i < VEC_LANES; i++) {
            sum += total[i];
        }
        attend_values(a, is_bf16, first, n, s, decay, o);
    }
    for (int64_t i = 0; i < a->pitch; i++) {
        o[i] /= sum;
    }
    attend_reorder(o, a->pitch, is_bf16, true, out);
}

static void filter_attend(const filter_keys *keys, const float *q, const int32_t *index,
                          const float *bias, int64_t n, float *out)
{
    int64_t pitch = filter_pitch(keys->size);
    attend_rows a = {.k = keys->k,
                     .v = keys->v,
                     .row_bytes = pitch * (keys->is_bf16 ? 2 : 4),
                     .pitch = pitch,
                     .index = index,
                     .bias = bias,
                     .n = n};

    if (keys->is_bf16) {
        attend_all(&a, true, q, out);
    } else {
        attend_all(&a, false, q, out);
    }
}

#endif
