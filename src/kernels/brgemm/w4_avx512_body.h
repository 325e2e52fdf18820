/* The AVX-512 tile of up to 4 rows x 32 columns of weights of a few bits. The file that includes it
 * says how codes lie:
 *
 *     WORD_BYTES                       of eight k of a panel
 *     __m512 code_at(word, step, part) codes of k = `step`, less the centre, of 16 columns */
#ifndef KERNELS_BRGEMM_W4_AVX512_BODY_H
#define KERNELS_BRGEMM_W4_AVX512_BODY_H

#include <immintrin.h>

#include "kernels/brgemm/w4_variants.h"

#define W4_INLINE static inline __attribute__((always_inline))

enum {
    NR = 32,
    LANES = 16,
    PARTS = NR / LANES,
    LINE = 64,
    AHEAD = 1024 /* bytes, to have them near by then */
};

W4_INLINE __m512 code_at(const uint8_t *word, int step, int part);

/* Eight k of all rows. sums[row][part][k % 2]. */
W4_INLINE void add_word(const w4_tile *t, const float *a, const uint8_t *codes, int rows,
                        __m512 sums[][PARTS][2])
{
#pragma GCC unroll 4
    for (int line = 0; line < WORD_BYTES; line += LINE) {
        _mm_prefetch((const char *)codes + line + AHEAD, _MM_HINT_T0);
    }
#pragma GCC unroll 8
    for (int step = 0; step < W4_WORD; step++) {
        __m512 w[PARTS];

#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            w[part] = code_at(codes, step, part);
        }
#pragma GCC unroll 4
        for (int row = 0; row < rows; row++) {
            __m512 x = _mm512_set1_ps(a[row * t->a_pitch + step]);

#pragma GCC unroll 2
            for (int part = 0; part < PARTS; part++) {
                sums[row][part][step % 2] = _mm512_fmadd_ps(x, w[part], sums[row][part][step % 2]);
            }
        }
    }
}

/* `rows` is a constant at every call, so that the sums become registers. */
W4_INLINE void tile_rows(const w4_tile *t, int rows)
{
    __m512 totals[W4_MOST_ROWS][PARTS];
    const float *record = t->panel;
    const float *a = t->a;

#pragma GCC unroll 4
    for (int row = 0; row < rows; row++) {
        totals[row][0] = _mm512_setzero_ps();
        totals[row][1] = _mm512_setzero_ps();
    }
    for (int64_t g = 0; g < t->groups; g++) {
        __m512 sums[W4_MOST_ROWS][PARTS][2];
        const float *zeros = record + NR;
        const uint8_t *codes = (const uint8_t *)(t->has_zeros ? zeros + NR : zeros);

#pragma GCC unroll 4
        for (int row = 0; row < rows; row++) {
#pragma GCC unroll 2
            for (int part = 0; part < PARTS; part++) {
                sums[row][part][0] = _mm512_setzero_ps();
                sums[row][part][1] = _mm512_setzero_ps();
            }
        }
        for (int k = 0; k < t->group; k += W4_WORD) {
            add_word(t, a, codes, rows, sums);
            a += W4_WORD;
            codes += WORD_BYTES;
        }
#pragma GCC unroll 4
        for (int row = 0; row < rows; row++) {
#pragma GCC unroll 2
            for (int part = 0; part < PARTS; part++) {
                __m512 sum = _mm512_add_ps(sums[row][part][0], sums[row][part][1]);

                if (t->has_zeros) {
                    __m512 a_sum = _mm512_set1_ps(t->a_sums[row * t->sums_pitch + g]);

                    sum = _mm512_fnmadd_ps(_mm512_loadu_ps(zeros + part * LANES), a_sum, sum);
                }
                totals[row][part] =
                    _mm512_fmadd_ps(_mm512_loadu_ps(record + part * LANES), sum, totals[row][part]);
            }
        }
        record = (const float *)codes;
    }
#pragma GCC unroll 4
    for (int row = 0; row < rows; row++) {
#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            int left = t->columns - part * LANES;
            __mmask16 mask =
                (__mmask16)(left >= LANES ? 0xFFFF : (1u << (left > 0 ? left : 0)) - 1);
            __m512 total = totals[row][part];

            if (t->bias != NULL) {
                total = _mm512_add_ps(total, _mm512_maskz_loadu_ps(mask, t->bias + part * LANES));
            }
            _mm512_mask_storeu_ps(t->c + row * t->c_pitch + part * LANES, mask, total);
        }
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
                __m512 scale = _mm512_loadu_ps(record + part * LANES);
                __m512 zero =
                    has_zeros ? _mm512_loadu_ps(zeros + part * LANES) : _mm512_setzero_ps();

#pragma GCC unroll 8
                for (int step = 0; step < W4_WORD; step++) {
                    __m512 code = _mm512_sub_ps(code_at(codes, step, part), zero);

                    _mm512_storeu_ps(to + step * NR + part * LANES, _mm512_mul_ps(scale, code));
                }
            }
            codes += WORD_BYTES;
            to += W4_WORD * NR;
        }
        record = (const float *)codes;
    }
}

#endif
