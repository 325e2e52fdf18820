/* AVX2 + FMA tile of 6 rows x 16 columns: 12 accumulators, 2 registers of B, 1 broadcast of A. */
#include <immintrin.h>

#include "kernels/outer/outer_variants.h"

#define INLINE static inline __attribute__((always_inline))

enum { MR = 6, NR = 16, LANES = 8, PARTS = 2 };

/* Lane masks for 0..8 valid columns: load eight integers ending `valid` lanes in. */
static const int32_t mask_source[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};

INLINE __m256i lanes_of(int columns, int part)
{
    int valid = columns - part * LANES;

    valid = valid < 0 ? 0 : valid > LANES ? LANES : valid;
    return _mm256_loadu_si256((const __m256i *)(mask_source + LANES - valid));
}

INLINE void step(const float *a, const float *b, int rows, const __m256i *lanes, bool is_full,
                 __m256 sums[MR][PARTS])
{
    __m256 line[PARTS];

#pragma GCC unroll 2
    for (int part = 0; part < PARTS; part++) {
        line[part] = is_full ? _mm256_loadu_ps(b + part * LANES)
                             : _mm256_maskload_ps(b + part * LANES, lanes[part]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        __m256 left = _mm256_broadcast_ss(a + i);

#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            sums[i][part] = _mm256_fmadd_ps(left, line[part], sums[i][part]);
        }
    }
}

/* `rows` and `is_full` are constants at every call. */
INLINE void tile_of(const outer_tile *t, int rows, bool is_full)
{
    __m256i lanes[PARTS] = {lanes_of(t->columns, 0), lanes_of(t->columns, 1)};
    __m256 sums[MR][PARTS];

#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            sums[i][part] = t->accumulate ? _mm256_maskload_ps(t->c + i * t->c_pitch + part * LANES,
                                                               lanes[part])
                                          : _mm256_setzero_ps();
        }
    }
    for (int64_t r = 0; r < t->run_count; r++) {
        const char *a = (const char *)t->a + t->runs[r].a;
        const char *b = (const char *)t->b + t->runs[r].b;

        for (int64_t left = t->runs[r].steps; left > 0; left--) {
            step((const float *)(const void *)a, (const float *)(const void *)b, rows, lanes,
                 is_full, sums);
            a += t->a_pitch;
            b += t->b_pitch;
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            _mm256_maskstore_ps(t->c + i * t->c_pitch + part * LANES, lanes[part], sums[i][part]);
        }
    }
}

INLINE void tile_rows(const outer_tile *t, bool is_full)
{
    switch (t->rows) {
    case 6: tile_of(t, 6, is_full); break;
    case 5: tile_of(t, 5, is_full); break;
    case 4: tile_of(t, 4, is_full); break;
    case 3: tile_of(t, 3, is_full); break;
    case 2: tile_of(t, 2, is_full); break;
    default: tile_of(t, 1, is_full); break;
    }
}

static void tile(const outer_tile *t)
{
    if (t->columns == NR) {
        tile_rows(t, true);
    } else {
        tile_rows(t, false);
    }
}

const outer_kernel outer_f32_6x16__avx2 = {
    "outer_f32_6x16__avx2", OUTER_F32, MR, NR, 1, tile, NULL};
