/* The AVX2 tile of up to 4 rows x 16 columns of weights of a few bits. The file that includes it
 * says how codes lie:
 *
 *     WORD_BYTES                       of eight k of a panel
 *     CODE_STEP                        what a code of 1 is in
 *     __m256 code_at(word, step, part) codes of k = `step`, less the centre, of 8 columns */
#ifndef KERNELS_BRGEMM_W4_AVX2_BODY_H
#define KERNELS_BRGEMM_W4_AVX2_BODY_H

#include <immintrin.h>

#include "kernels/brgemm/w4_variants.h"

#define W4_INLINE static inline __attribute__((always_inline))

enum {
    NR = 16,
    LANES = 8,
    PARTS = NR / LANES,
    AHEAD = 1024 /* bytes, to have them near by then */
};

W4_INLINE __m256 code_at(const uint8_t *word, int step, int part);

/* One group of 8 columns. sums[row][k % 2]. */
W4_INLINE void add_group(const w4_tile *t, const float *a, const uint8_t *codes, int part, int rows,
                         __m256 sums[][2])
{
#pragma GCC unroll 4
    for (int row = 0; row < rows; row++) {
        sums[row][0] = _mm256_setzero_ps();
        sums[row][1] = _mm256_setzero_ps();
    }
    for (int k = 0; k < t->group; k += W4_WORD) {
        _mm_prefetch((const char *)codes + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int step = 0; step < W4_WORD; step++) {
            __m256 w = code_at(codes, step, part);

#pragma GCC unroll 4
            for (int row = 0; row < rows; row++) {
                __m256 x = _mm256_broadcast_ss(a + row * t->a_pitch + step);

                sums[row][step % 2] = _mm256_fmadd_ps(x, w, sums[row][step % 2]);
            }
        }
        a += W4_WORD;
        codes += WORD_BYTES;
    }
}

W4_INLINE void store_part(const w4_tile *t, int row, int part, __m256 total)
{
    float room[LANES];
    float *to = t->c + row * t->c_pitch + part * LANES;
    int left = t->columns - part * LANES;

    if (left >= LANES) {
        if (t->bias != NULL) {
            total = _mm256_add_ps(total, _mm256_loadu_ps(t->bias + part * LANES));
        }
        _mm256_storeu_ps(to, total);
        return;
    }
    _mm256_storeu_ps(room, total);
    for (int j = 0; j < left; j++) {
        to[j] = room[j] + (t->bias != NULL ? t->bias[part * LANES + j] : 0.0f);
    }
}

/* `rows` is a constant at every call, so that the sums become registers. */
W4_INLINE void tile_rows(const w4_tile *t, int rows)
{
    __m256 totals[W4_MOST_ROWS][PARTS];
    const float *record = t->panel;
    int64_t bytes = t->group / W4_WORD * WORD_BYTES;

#pragma GCC unroll 4
    for (int row = 0; row < rows; row++) {
        totals[row][0] = _mm256_setzero_ps();
        totals[row][1] = _mm256_setzero_ps();
    }
    for (int64_t g = 0; g < t->groups; g++) {
        const float *zeros = record + NR;
        const uint8_t *codes = (const uint8_t *)(t->has_zeros ? zeros + NR : zeros);

#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            __m256 scale = _mm256_loadu_ps(record + part * LANES);
            __m256 sums[W4_MOST_ROWS][2];

            add_group(t, t->a + g * t->group, codes, part, rows, sums);
#pragma GCC unroll 4
            for (int row = 0; row < rows; row++) {
                __m256 sum = _mm256_mul_ps(_mm256_add_ps(sums[row][0], sums[row][1]),
                                           _mm256_set1_ps(CODE_STEP));

                if (t->has_zeros) {
                    __m256 a_sum = _mm256_broadcast_ss(t->a_sums + row * t->sums_pitch + g);

                    sum = _mm256_fnmadd_ps(_mm256_loadu_ps(zeros + part * LANES), a_sum, sum);
                }
                totals[row][part] = _mm256_fmadd_ps(scale, sum, totals[row][part]);
            }
        }
        record = (const float *)(codes + bytes);
    }
#pragma GCC unroll 4
    for (int row = 0; row < rows; row++) {
        store_part(t, row, 0, totals[row][0]);
        store_part(t, row, 1, totals[row][1]);
    }
}

static void tile(const w4_tile *t)
{
    switch (t->rows) {
    case 4: tile_rows(t, 4); break;
    case 3: tile_rows(t, 3); break;
    case 2: tile_rows(t, 2); break;
    default: tile_rows(t, 1); break;
    }
}

static void unpack(const void *panel, int64_t groups, int group, bool has_zeros, float *to)
{
    const float *record = panel;

    for (int64_t g = 0; g < groups; g++) {
        const float *zeros = record + NR;
        const uint8_t *codes = (const uint8_t *)(has_zeros ? zeros + NR : zeros);

        for (int k = 0; k < group; k += W4_WORD) {
            for (int part = 0; part < PARTS; part++) {
                __m256 scale = _mm256_loadu_ps(record + part * LANES);
                __m256 zero =
                    has_zeros ? _mm256_loadu_ps(zeros + part * LANES) : _mm256_setzero_ps();

#pragma GCC unroll 8
                for (int step = 0; step < W4_WORD; step++) {
                    __m256 code =
                        _mm256_mul_ps(code_at(codes, step, part), _mm256_set1_ps(CODE_STEP));

                    _mm256_storeu_ps(to + step * NR + part * LANES,
                                     _mm256_mul_ps(scale, _mm256_sub_ps(code, zero)));
                }
            }
            codes += WORD_BYTES;
            to += W4_WORD * NR;
        }
        record = (const float *)codes;
    }
}

#endif
