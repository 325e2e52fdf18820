/* The AVX-512 tile of 14 rows x 32 columns for either type: 28 accumulators, 2 registers of B, one
 * broadcast of A. A file that includes this defines outer_dot(sum, four bytes of A broadcast,
 * 64 bytes of B) -> sum before.
 *
 * A step is 2 loads, 14 broadcasts from neighbouring words and 28 multiply-adds. */
#ifndef KERNELS_OUTER_OUTER_14X32_AVX512_BODY_H
#define KERNELS_OUTER_OUTER_14X32_AVX512_BODY_H

#include "kernels/outer/outer_variants.h"

enum { MR = 14, NR = 32, LANES = 16, VECTOR = 64 };

OUTER_INLINE void outer_step(const char *a, const char *b, int rows, int parts, __mmask16 last,
                             __m512 *sums)
{
    __m512i line[2];

#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        line[part] = part + 1 < parts ? _mm512_loadu_si512(b + part * VECTOR)
                                      : _mm512_maskz_loadu_epi32(last, b + part * VECTOR);
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        int32_t word;
        __m512i left;

        memcpy(&word, a + (size_t)i * sizeof word, sizeof word);
        left = _mm512_set1_epi32(word);
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            sums[i * parts + part] = outer_dot(sums[i * parts + part], left, line[part]);
        }
    }
}

/* `rows` and `parts` (vectors of columns) are constants at every call. */
OUTER_INLINE void outer_tile_of(const outer_tile *t, int rows, int parts)
{
    __m512 sums[MR * 2];
    int rest = t->columns - (parts - 1) * LANES;
    __mmask16 last = (__mmask16)((1u << rest) - 1);
    int64_t a_pitch = t->a_pitch;
    int64_t b_pitch = t->b_pitch;

#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        const float *c = t->c + i * t->c_pitch;

#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            __mmask16 lanes = part + 1 < parts ? (__mmask16)0xFFFF : last;

            sums[i * parts + part] =
                _mm512_maskz_loadu_ps(t->accumulate ? lanes : (__mmask16)0, c + part * LANES);
        }
    }
    for (int64_t r = 0; r < t->run_count; r++) {
        const char *a = (const char *)t->a + t->runs[r].a;
        const char *b = (const char *)t->b + t->runs[r].b;

        for (int64_t left = t->runs[r].steps; left > 0; left--) {
            outer_step(a, b, rows, parts, last, sums);
            a += a_pitch;
            b += b_pitch;
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        float *c = t->c + i * t->c_pitch;

#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            __mmask16 lanes = part + 1 < parts ? (__mmask16)0xFFFF : last;

            _mm512_mask_storeu_ps(c + part * LANES, lanes, sums[i * parts + part]);
        }
    }
}

OUTER_INLINE void outer_tile_rows(const outer_tile *t, int parts)
{
    switch (t->rows) {
    case 14: outer_tile_of(t, 14, parts); break;
    case 13: outer_tile_of(t, 13, parts); break;
    case 12: outer_tile_of(t, 12, parts); break;
    case 11: outer_tile_of(t, 11, parts); break;
    case 10: outer_tile_of(t, 10, parts); break;
    case 9: outer_tile_of(t, 9, parts); break;
    case 8: outer_tile_of(t, 8, parts); break;
    case 7: outer_tile_of(t, 7, parts); break;
    case 6: outer_tile_of(t, 6, parts); break;
    case 5: outer_tile_of(t, 5, parts); break;
    case 4: outer_tile_of(t, 4, parts); break;
    case 3: outer_tile_of(t, 3, parts); break;
    case 2: outer_tile_of(t, 2, parts); break;
    default: outer_tile_of(t, 1, parts); break;
    }
}

static void tile(const outer_tile *t)
{
    if (t->columns > LANES) {
        outer_tile_rows(t, 2);
    } else {
        outer_tile_rows(t, 1);
    }
}

#endif
