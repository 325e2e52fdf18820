/* A stage of the predictor, compiled once per instruction set by the files that include this one.
 * Sums of four channels, two rows and two vectors of columns stay in registers. */
#ifndef KERNELS_ATTENTION_BLOCK_PREDICTOR_BODY_H
#define KERNELS_ATTENTION_BLOCK_PREDICTOR_BODY_H

#include "kernels/attention/block_predictor.h"
#include "kernels/elementwise/elementwise_f32_vector.h"

enum { STAGE_ROWS = 2, STAGE_VECTORS = 2 };

/* Every second element of a and b, from the first or the second on. */
#if defined(__AVX512F__)
#define STAGE_EVEN(a, b) \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define STAGE_ODD(a, b) \
    __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif defined(__AVX2__)
#define STAGE_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define STAGE_ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#else
#define STAGE_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define STAGE_ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#endif

typedef vec_f32 stage_sums[STAGE_ROWS][BLOCK_PREDICTOR_GROUP][STAGE_VECTORS];

/* Adds what one input channel gives; `at` is the pixel above and to the left of the first result.
 * `vectors` is a constant at every call. */
VEC_INLINE void stage_channel(const float *at, int64_t pitch, const float *w, int vectors,
                              stage_sums sum)
{
#pragma GCC unroll 9
    for (int tap = 0; tap < BLOCK_PREDICTOR_TAPS; tap++) {
        const float *from = at + tap / 3 * pitch + tap % 3;
        const float *weights = w + (int64_t)tap * BLOCK_PREDICTOR_GROUP;

#pragma GCC unroll 2
        for (int row = 0; row < STAGE_ROWS; row++) {
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                vec_f32 x = vec_load(from + row * pitch + v * VEC_LANES);

#pragma GCC unroll 4
                for (int c = 0; c < BLOCK_PREDICTOR_GROUP; c++) {
                    sum[row][c][v] = vec_fma(x, vec_set(weights[c]), sum[row][c][v]);
                }
            }
        }
    }
}

/* Rows [row, row + 2) and columns [column, column + vectors * VEC_LANES) of a group. */
VEC_INLINE void stage_tile(const block_stage *s, const float *frame, int64_t group, int64_t row,
                           int64_t column, int vectors, block_target target)
{
    const vec_f32 zero = {0};
    int64_t pitch = block_predictor_pitch(s->side);
    int64_t plane = block_predictor_plane(s->side);
    int64_t first = group * BLOCK_PREDICTOR_GROUP;
    const float *w = s->weights + first * s->channels * BLOCK_PREDICTOR_TAPS;
    int64_t left = s->side - column;
    int64_t results = (left < vectors * VEC_LANES ? left : vectors * VEC_LANES) / 2;
    stage_sums sum;

#pragma GCC unroll 4
    for (int c = 0; c < BLOCK_PREDICTOR_GROUP; c++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            sum[0][c][v] = sum[1][c][v] = vec_set(s->bias[first + c]);
        }
    }
    for (int64_t channel = 0; channel < s->channels; channel++) {
        stage_channel(frame + channel * plane + row * pitch + column, pitch,
                      w + channel * BLOCK_PREDICTOR_TAPS * BLOCK_PREDICTOR_GROUP, vectors, sum);
    }
#pragma GCC unroll 4
    for (int c = 0; c < BLOCK_PREDICTOR_GROUP; c++) {
        float *to = target.to + (first + c) * target.plane + row / 2 * target.pitch + column / 2;
        vec_f32 part[STAGE_VECTORS] = {zero, zero};
        vec_f32 mean;

#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            part[v] = vec_max(sum[0][c][v], zero) + vec_max(sum[1][c][v], zero);
        }
        mean = (STAGE_EVEN(part[0], part[1]) + STAGE_ODD(part[0], part[1])) * vec_set(0.25f);
        if (first + c >= s->channels) {
            return;
        }
        if (results >= VEC_LANES) {
            vec_store(to, mean);
        } else {
            vec_store_part(to, mean, results);
        }
    }
}

static void run_stage(const block_stage *s, const float *frame, block_target target)
{
    int64_t groups = (s->channels + BLOCK_PREDICTOR_GROUP - 1) / BLOCK_PREDICTOR_GROUP;

    for (int64_t group = 0; group < groups; group++) {
        for (int64_t row = 0; row < s->side; row += STAGE_ROWS) {
            int64_t column = 0;

            for (; s->side - column > VEC_LANES; column += STAGE_VECTORS * VEC_LANES) {
                stage_tile(s, frame, group, row, column, STAGE_VECTORS, target);
            }
            if (column < s->side) {
                stage_tile(s, frame, group, row, column, 1, target);
            }
        }
    }
}

static float run_dot(const float *a, const float *b, int64_t n)
{
    vec_f32 sum[2] = {{0}, {0}};
    float total = 0.0f;
    int64_t i = 0;

    for (; i + 2 * VEC_LANES <= n; i += 2 * VEC_LANES) {
        sum[0] = vec_fma(vec_load(a + i), vec_load(b + i), sum[0]);
        sum[1] = vec_fma(vec_load(a + i + VEC_LANES), vec_load(b + i + VEC_LANES), sum[1]);
    }
    for (; i < n; i += VEC_LANES) {
        int64_t left = n - i;
        bool whole = left >= VEC_LANES;

        sum[0] = vec_fma(whole ? vec_load(a + i) : vec_load_part(a + i, left),
                         whole ? vec_load(b + i) : vec_load_part(b + i, left), sum[0]);
    }
    sum[0] += sum[1];
    for (int lane = 0; lane < VEC_LANES; lane++) {
        total += sum[0][lane];
    }
    return total;
}

/* The variant of this instruction set, as an initialiser. */
#define BLOCK_PREDICTOR(NAME)                              \
    {                                                      \
        .name = (NAME), .stage = run_stage, .dot = run_dot \
    }

#endif
