/* The AVX-512 tile of a row by up to 128 columns for every type: 8 accumulators. A file that
 * includes this defines before:
 *
 *   sparse_dot(sum, four bytes broadcast, 64 bytes of B) -> sum, on __m512i
 *
 * An entry is a scalar load, a broadcast and 8 multiply-adds that read B: the loads are what it
 * waits for, so nothing is kept in registers that could be an operand in memory. */
#ifndef KERNELS_SPARSE_SPARSE_128_AVX512_BODY_H
#define KERNELS_SPARSE_SPARSE_128_AVX512_BODY_H

#include <string.h>

#include "kernels/sparse/sparse_variants.h"

enum { COLUMNS = 128, PANEL = 32, LANES = 16, VECTOR = 64, PANELS = COLUMNS / PANEL };

/* One entry of a row of `vectors` vectors. */
SPARSE_INLINE void sparse_entry(const char *const *b, uint32_t at, const uint32_t *value,
                                int vectors, __m512i *sums)
{
    int32_t word;
    __m512i number;

    memcpy(&word, value, sizeof word);
    number = _mm512_set1_epi32(word);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        sums[v] =
            sparse_dot(sums[v], number, _mm512_loadu_si512(b[v / 2] + (size_t)at + v % 2 * VECTOR));
    }
}

/* `vectors` is a constant at every call. */
SPARSE_INLINE void sparse_tile_of(const sparse_tile *t, int vectors)
{
    const uint32_t *at = t->at;
    const uint32_t *value = t->value;
    const char *b[PANELS];
    __mmask16 last = (__mmask16)(0xFFFFu >> (vectors * LANES - t->columns));
    __mmask16 start = t->accumulate ? (__mmask16)0xFFFF : (__mmask16)0;

    for (int panel = 0; panel < PANELS; panel++) {
        b[panel] = (const char *)t->b + panel * t->b_panel;
    }
    for (int64_t i = 0; i < t->row_count; i++) {
        char *c = (char *)t->c + (int64_t)t->rows[i].row * t->c_pitch;
        const uint32_t *end = at + t->rows[i].count;
        __m512i sums[COLUMNS / LANES];

#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            sums[v] = _mm512_maskz_loadu_epi32(v + 1 < vectors ? start : (start & last),
                                               c + (size_t)v * VECTOR);
        }
        if (i + 1 < t->row_count) {
            const char *next = (const char *)t->c + (int64_t)t->rows[i + 1].row * t->c_pitch;

#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) {
                __builtin_prefetch(next + (size_t)v * VECTOR, 1, 3);
            }
        }
        for (; at < end; at++, value++) {
            sparse_entry(b, *at, value, vectors, sums);
        }
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            if (v + 1 < vectors) {
                _mm512_storeu_si512(c + (size_t)v * VECTOR, sums[v]);
            } else {
                _mm512_mask_storeu_epi32(c + (size_t)v * VECTOR, last, sums[v]);
            }
        }
    }
}

static void tile(const sparse_tile *t)
{
    switch ((t->columns + LANES - 1) / LANES) {
    case 1: sparse_tile_of(t, 1); break;
    case 2: sparse_tile_of(t, 2); break;
    case 3: sparse_tile_of(t, 3); break;
    case 4: sparse_tile_of(t, 4); break;
    case 5: sparse_tile_of(t, 5); break;
    case 6: sparse_tile_of(t, 6); break;
    case 7: sparse_tile_of(t, 7); break;
    default: sparse_tile_of(t, 8); break;
    }
}

#endif
