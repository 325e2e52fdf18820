/* AVX2 + FMA tile of 6 rows x 16 columns: 12 accumulators, 2 registers of B, 1 broadcast of A. */
#include <immintrin.h>
#include <math.h>

#include "kernels/brgemm/brgemm_variants.h"

#define INLINE static inline __attribute__((always_inline))

enum { MR = 6, NR = 16, LANES = 8, PARTS = 2 };

/* Lane masks for 0..8 valid columns: load eight integers ending `valid` lanes in. */
static const int32_t mask_source[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};

/* The lanes of vector `part` that a tile of `columns` has. */
INLINE __m256i lanes_of(int columns, int part)
{
    int valid = columns - part * LANES;

    valid = valid < 0 ? 0 : valid > LANES ? LANES : valid;
    return _mm256_loadu_si256((const __m256i *)(mask_source + LANES - valid));
}

INLINE void load(const brgemm_tile *t, int rows, int parts, __m256 sums[MR][PARTS])
{
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        const float *c = (const float *)brgemm_c_row(t, i, MR);

#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            sums[i][part] = _mm256_maskload_ps(c + part * LANES, lanes_of(t->columns, part));
        }
    }
}

/* Bias, residual and clamp. */
INLINE void finish(const brgemm_tile *t, int rows, int parts, __m256 sums[MR][PARTS])
{
    const brgemm_finish *f = t->finish;

#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        __m256i lanes = lanes_of(t->columns, part);

        if (f->bias != NULL) {
            __m256 bias = _mm256_maskload_ps(f->bias + part * LANES, lanes);

#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                sums[i][part] = _mm256_add_ps(sums[i][part], bias);
            }
        }
        if (f->residual != NULL) {
#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                const float *residual = brgemm_residual_row(f, i, MR) + part * LANES;

                sums[i][part] = _mm256_add_ps(sums[i][part], _mm256_maskload_ps(residual, lanes));
            }
        }
        if (f->activate == NULL && f->lower != -INFINITY) {
#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) { /* the second operand comes back when one is NaN */
                sums[i][part] = _mm256_max_ps(_mm256_set1_ps(f->lower), sums[i][part]);
            }
        }
        if (f->activate == NULL && f->upper != INFINITY) {
#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                sums[i][part] = _mm256_min_ps(_mm256_set1_ps(f->upper), sums[i][part]);
            }
        }
    }
}

/* The first `count` lanes, in pieces: masked stores are slow on some processors. */
INLINE void store_lanes(float *c, int count, __m256 v)
{
    __m128 part = _mm256_castps256_ps128(v);

    if (count >= LANES) {
        _mm256_storeu_ps(c, v);
        return;
    }
    if (count & 4) {
        _mm_storeu_ps(c, part);
        part = _mm256_extractf128_ps(v, 1);
        c += 4;
    }
    if (count & 2) {
        _mm_storel_pi((__m64 *)c, part);
        part = _mm_movehl_ps(part, part);
        c += 2;
    }
    if (count & 1) {
        _mm_store_ss(c, part);
    }
}

/* All rows at once, and away from C: a call for a row would cost as much as its vectors. */
INLINE void activate(brgemm_activation *function, int rows, __m256 sums[MR][PARTS])
{
    float room[MR * NR] __attribute__((aligned(32)));

#pragma GCC unroll 12
    for (int i = 0; i < rows * PARTS; i++) {
        _mm256_store_ps(room + i * LANES, sums[i / PARTS][i % PARTS]);
    }
    function(room, room, (int64_t)rows * NR);
#pragma GCC unroll 12
    for (int i = 0; i < rows * PARTS; i++) {
        sums[i / PARTS][i % PARTS] = _mm256_load_ps(room + i * LANES);
    }
}

/* Activates and stores. */
INLINE void store(const brgemm_tile *t, int rows, int parts, __m256 sums[MR][PARTS])
{
    if (t->finish != NULL && t->finish->activate != NULL) {
        activate(t->finish->activate, rows, sums);
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float *c = (float *)brgemm_c_row(t, i, MR);

        if (parts == PARTS) {
            _mm256_storeu_ps(c, sums[i][0]);
            store_lanes(c + LANES, t->columns - LANES, sums[i][1]);
        } else {
            store_lanes(c, t->columns, sums[i][0]);
        }
    }
}

INLINE void step(const char *top, const char *bottom, int64_t pitch, const float *b, int rows,
                 int parts, __m256 sums[MR][PARTS])
{
    __m256 b0 = _mm256_loadu_ps(b);
    __m256 b1 = parts > 1 ? _mm256_loadu_ps(b + LANES) : b0;

#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        const char *base = i < MR / 2 ? top : bottom;
        __m256 a = _mm256_broadcast_ss((const float *)(base + i % (MR / 2) * pitch));

        sums[i][0] = _mm256_fmadd_ps(a, b0, sums[i][0]);
        if (parts > 1) {
            sums[i][1] = _mm256_fmadd_ps(a, b1, sums[i][1]);
        }
    }
}

/* `rows` and `parts` (vectors of columns) are constants at every call, so that the accumulators
 * become registers. */
INLINE void tile_of(const brgemm_tile *t, int rows, int parts)
{
    __m256 sums[MR][PARTS];
    const float *b = t->b;
    int64_t pitch = t->a_pitch;

    __asm__("" : "+r"(pitch)); /* or the compiler makes a pointer per row, and spills it */
    if (t->accumulate) {
        load(t, rows, parts, sums);
    } else {
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            sums[i][0] = _mm256_setzero_ps();
            sums[i][1] = _mm256_setzero_ps();
        }
    }
    for (int tap = 0; tap < t->taps; tap++) {
        const char *top = (const char *)t->a + t->tap_offsets[tap];
        const char *bottom = top + t->a_second;

        for (int64_t k = 0; k < t->steps; k++) {
            step(top, bottom, pitch, b, rows, parts, sums);
            top += sizeof(float);
            bottom += sizeof(float);
            b += NR;
        }
    }
    if (t->finish != NULL) {
        finish(t, rows, parts, sums);
    }
    store(t, rows, parts, sums);
}

INLINE void tile_rows(const brgemm_tile *t, int parts)
{
    switch (t->rows) {
    case 6: tile_of(t, 6, parts); break;
    case 5: tile_of(t, 5, parts); break;
    case 4: tile_of(t, 4, parts); break;
    case 3: tile_of(t, 3, parts); break;
    case 2: tile_of(t, 2, parts); break;
    default: tile_of(t, 1, parts); break;
    }
}

static void tile(const brgemm_tile *t)
{
    if (t->columns > LANES) {
        tile_rows(t, 2);
    } else {
        tile_rows(t, 1);
    }
}

const brgemm_kernel brgemm_f32_6x16__avx2 = {
    "brgemm_f32_6x16__avx2", BRGEMM_F32, MR, NR, 1, tile, NULL};
