/* Start and finish of float sums in AVX-512 registers. Each part is a pass over all rows, so that
 * its condition is asked once per tile. */
#ifndef KERNELS_BRGEMM_BRGEMM_FLOATS_AVX512_H
#define KERNELS_BRGEMM_BRGEMM_FLOATS_AVX512_H

#include <immintrin.h>
#include <math.h>

#include "kernels/brgemm/brgemm_variants.h"

#define BRGEMM_INLINE static inline __attribute__((always_inline))

enum { BRGEMM_LANES = 16 };

/* The lanes that each vector of a tile of `columns` has. */
BRGEMM_INLINE void brgemm_lanes_avx512(int columns, int parts, __mmask16 *lanes)
{
#pragma GCC unroll 4
    for (int part = 0; part < parts; part++) {
        int left = columns - part * BRGEMM_LANES;

        lanes[part] =
            (__mmask16)(left >= BRGEMM_LANES ? 0xFFFF : (1u << (left > 0 ? left : 0)) - 1);
    }
}

/* sums[row * parts + part] start from what is in C. `rows`, `parts` and `mr` are constants. */
BRGEMM_INLINE void brgemm_load_floats_avx512(const brgemm_tile *t, int rows, int parts, int mr,
                                             __m512 *sums)
{
    __mmask16 lanes[4];

    brgemm_lanes_avx512(t->columns, parts, lanes);
#pragma GCC unroll 32
    for (int i = 0; i < rows; i++) {
        const float *c = (const float *)brgemm_c_row(t, i, mr);

#pragma GCC unroll 4
        for (int part = 0; part < parts; part++) {
            sums[i * parts + part] = _mm512_maskz_loadu_ps(lanes[part], c + part * BRGEMM_LANES);
        }
    }
}

/* Bias, residual and clamp of rows [first, rows). */
BRGEMM_INLINE void brgemm_finish_floats_avx512(const brgemm_tile *t, int first, int rows, int parts,
                                               int mr, __m512 *sums)
{
    const brgemm_finish *f = t->finish;
    __mmask16 lanes[4];

    brgemm_lanes_avx512(t->columns, parts, lanes);
    if (f->bias != NULL) {
#pragma GCC unroll 4
        for (int part = 0; part < parts; part++) {
            __m512 bias = _mm512_maskz_loadu_ps(lanes[part], f->bias + part * BRGEMM_LANES);

#pragma GCC unroll 32
            for (int i = first; i < rows; i++) {
                sums[i * parts + part] = _mm512_add_ps(sums[i * parts + part], bias);
            }
        }
    }
    if (f->residual != NULL) {
#pragma GCC unroll 32
        for (int i = first; i < rows; i++) {
            const float *residual = brgemm_residual_row(f, i, mr);

#pragma GCC unroll 4
            for (int part = 0; part < parts; part++) {
                sums[i * parts + part] = _mm512_add_ps(
                    sums[i * parts + part],
                    _mm512_maskz_loadu_ps(lanes[part], residual + part * BRGEMM_LANES));
            }
        }
    }
    if (f->activate == NULL && f->lower != -INFINITY) {
        __m512 lower = _mm512_set1_ps(f->lower);

#pragma GCC unroll 64
        for (int i = first * parts; i < rows * parts;
             i++) { /* the second operand comes back when one is NaN */
            sums[i] = _mm512_max_ps(lower, sums[i]);
        }
    }
    if (f->activate == NULL && f->upper != INFINITY) {
        __m512 upper = _mm512_set1_ps(f->upper);

#pragma GCC unroll 64
        for (int i = first * parts; i < rows * parts; i++) {
            sums[i] = _mm512_min_ps(upper, sums[i]);
        }
    }
}

/* All rows at once, and away from C: a call for a row would cost as much as its few vectors. */
BRGEMM_INLINE void brgemm_activate_floats_avx512(brgemm_activation *activate, int count,
                                                 __m512 *sums)
{
    float room[BRGEMM_MOST_MR * BRGEMM_MOST_NR] __attribute__((aligned(64)));

#pragma GCC unroll 64
    for (int i = 0; i < count; i++) {
        _mm512_store_ps(room + i * BRGEMM_LANES, sums[i]);
    }
    activate(room, room, (int64_t)count * BRGEMM_LANES);
#pragma GCC unroll 64
    for (int i = 0; i < count; i++) {
        sums[i] = _mm512_load_ps(room + i * BRGEMM_LANES);
    }
}

/* Stores rows [first, rows); `is_whole` where every vector has all its lanes. */
BRGEMM_INLINE void brgemm_put_floats_avx512(const brgemm_tile *t, int first, int rows, int parts,
                                            int mr, bool is_whole, const __m512 *sums)
{
    char *c[2] = {(char *)t->c, (char *)t->c + t->c_second};
    int64_t pitch = t->c_pitch; /* does not change while C is written */
    __mmask16 lanes[4];

    brgemm_lanes_avx512(t->columns, parts, lanes);
#pragma GCC unroll 32
    for (int i = first; i < rows; i++) {
        float *row = (float *)(void *)(i < mr / 2 ? c[0] + i * pitch : c[1] + (i - mr / 2) * pitch);

#pragma GCC unroll 4
        for (int part = 0; part < parts; part++) {
            if (is_whole || part + 1 < parts) {
                _mm512_storeu_ps(row + part * BRGEMM_LANES, sums[i * parts + part]);
            } else {
                _mm512_mask_storeu_ps(row + part * BRGEMM_LANES, lanes[part],
                                      sums[i * parts + part]);
            }
        }
    }
}

/* Activates and stores rows [first, rows). */
BRGEMM_INLINE void brgemm_store_floats_avx512(const brgemm_tile *t, int first, int rows, int parts,
                                              int mr, __m512 *sums)
{
    if (t->finish != NULL && t->finish->activate != NULL) {
        brgemm_activate_floats_avx512(t->finish->activate, (rows - first) * parts,
                                      sums + (ptrdiff_t)first * parts);
    }
    if (t->columns == parts * BRGEMM_LANES) {
        brgemm_put_floats_avx512(t, first, rows, parts, mr, true, sums);
    } else {
        brgemm_put_floats_avx512(t, first, rows, parts, mr, false, sums);
    }
}

#endif
