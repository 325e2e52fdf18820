/* The steps of attention in f32, compiled once per instruction set by the files that include this
 * one after defining TILE_ROWS. A tile of TILE_ROWS x two vectors of results stays in registers. */
#ifndef KERNELS_ATTENTION_ATTENTION_F32_BODY_H
#define KERNELS_ATTENTION_ATTENTION_F32_BODY_H

#include "kernels/attention/attention_f32_softmax.h"
#if defined(__AVX512F__)
#include "kernels/attention/attention_exchange_avx512.h"
#else
#include "kernels/gemm/gemm_f32.h"
#endif

/* ---- packing ---- */

static void pack_queries(const float *const *q, int rows, int64_t size, float factor, float *to)
{
    for (int r = 0; r < rows; r++) {
        attention_scale(q[r], size, factor, to + (int64_t)r * ATTENTION_PITCH);
    }
}

#if defined(__AVX512F__)

/* Elements [0, 16) of 16 keys, as far as both go; `is_whole` where both do. */
VEC_INLINE void exchange_square(const float *k, int64_t token, int64_t keys, int64_t elements,
                                float *to, bool is_whole)
{
    __mmask16 mask = vec_first(elements < VEC_LANES ? elements : VEC_LANES);
    __m512i x[VEC_LANES];

#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES; i++) {
        if (is_whole) {
            x[i] = _mm512_loadu_si512(k + i * token);
        } else {
            x[i] = _mm512_maskz_loadu_epi32(i < keys ? mask : 0, k + (i < keys ? i : 0) * token);
        }
    }
    attention_exchange(x);
#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES; i++) {
        if (is_whole || i < elements) {
            _mm512_storeu_si512(to + i * TILE_COLUMNS, x[i]);
        }
    }
}

static void pack_keys(const float *k, int64_t token, int64_t n, int64_t size, float *to)
{
    for (int64_t key = 0; key < n; key += VEC_LANES) {
        float *panel = to + key / TILE_COLUMNS * TILE_COLUMNS * size + key % TILE_COLUMNS;

        for (int64_t at = 0; at < size; at += VEC_LANES) {
            const float *from = k + key * token + at;

            if (n - key >= VEC_LANES && size - at >= VEC_LANES) {
                exchange_square(from, token, VEC_LANES, VEC_LANES, panel + at * TILE_COLUMNS, true);
            } else {
                exchange_square(from, token, n - key, size - at, panel + at * TILE_COLUMNS, false);
            }
        }
    }
}

#else

static void pack_keys(const float *k, int64_t token, int64_t n, int64_t size, float *to)
{
    gemm_f32_pack(k, token, 1, n, size, TILE_COLUMNS, to);
}

#endif

static void pack_values(const float *v, int64_t token, int64_t n, int64_t size, float *to)
{
    for (int64_t first = 0; first < size; first += TILE_COLUMNS) {
        int64_t count = size - first;

        for (int64_t key = 0; key < n; key++, to += TILE_COLUMNS) {
            const float *from = v + key * token + first;

#pragma GCC unroll 2
            for (int i = 0; i < TILE_VECTORS; i++) {
                int64_t left = count - i * VEC_LANES;

                vec_store(to + i * VEC_LANES,
                          left >= VEC_LANES ? vec_load(from + i * VEC_LANES)
                                            : vec_load_part(from + (left > 0 ? i * VEC_LANES : 0),
                                                            left > 0 ? left : 0));
            }
        }
    }
}

/* ---- products ---- */

/* `rows` and `vectors` are constants at every call, so that the sums become registers. */
VEC_INLINE void attention_multiply(const float *a, const float *b, int64_t n, int first, int rows,
                                   int vectors, vec_f32 sum[TILE_ROWS][TILE_VECTORS])
{
#pragma GCC unroll 1
    for (int64_t k = 0; k < n; k++) {
        vec_f32 column[TILE_VECTORS];

#pragma GCC unroll 2
        for (int i = 0; i < vectors; i++) {
            column[i] = vec_load(b + i * VEC_LANES);
        }
#pragma GCC unroll 16
        for (int r = first; r < rows; r++) {
            vec_f32 x = vec_set(a[r * ATTENTION_PITCH]);

#pragma GCC unroll 2
            for (int i = 0; i < vectors; i++) {
                sum[r][i] = vec_fma(x, column[i], sum[r][i]);
            }
        }
        a++;
        b += TILE_COLUMNS;
    }
}

#include "kernels/attention/attention_f32_tiles.h"

static void scores(const float *q, const float *k, int rows, int64_t n, int64_t size, float *s)
{
    attention_operands o = {.a = q,
                            .b = k,
                            .n = size,
                            .b_panel = size * TILE_COLUMNS,
                            .c = s,
                            .c_pitch = ATTENTION_PITCH,
                            .columns = n};

    attention_tile_rows(&o, rows);
}

static void combine(const float *weights, const float *v, int rows, int64_t n, int64_t packed,
                    int64_t size, const attention_rows *state, float *o, int64_t pitch)
{
    attention_operands p = {.a = weights,
                            .b = v,
                            .n = n,
                            .b_panel = packed * TILE_COLUMNS,
                            .decay = state != NULL ? state->decay : NULL,
                            .c = o,
                            .c_pitch = pitch,
                            .columns = size};

    attention_tile_rows(&p, rows);
}

VEC_INLINE void store_floats(float *row, int64_t at, vec_f32 first, vec_f32 second)
{
    vec_store(row + at, first);
    vec_store(row + at + VEC_LANES, second);
}

static const attention_weights weighing = {attention_exp2, store_floats};

static void weigh(float *s, int rows, int64_t n, attention_rows *state)
{
    attention_weigh(s, rows, n, state, &weighing, false);
}

static void normalise(float *s, int rows, int64_t n, const attention_rows *state)
{
    attention_normalise(s, rows, n, state, &weighing);
}

#include "kernels/attention/attention_f32_survey.h"

/* The variant of this instruction set, as an initialiser. */
#define ATTENTION_F32(NAME)                                                                        \
    {                                                                                              \
        .name = (NAME), .mr = TILE_ROWS, .nr = TILE_COLUMNS, .pack_queries = pack_queries,         \
        .pack_keys = pack_keys, .pack_values = pack_values, .scores = scores,                      \
        .add = attention_add, .weigh = weigh, .combine = combine, .finish = attention_finish,      \
        .normalise = normalise, .weigh_energy = weigh_energy, .moments = moments, .gather = gather \
    }

#endif
