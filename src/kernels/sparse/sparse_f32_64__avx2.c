/* The AVX2 tile of a row by up to 64 columns: 8 accumulators, panels of two vectors. */
#include <immintrin.h>

#include "kernels/sparse/sparse_variants.h"

enum { COLUMNS = 64, PANEL = 16, LANES = 8, PANELS = COLUMNS / PANEL };

SPARSE_INLINE void entry(const char *const *b, uint32_t at, const float *value, int vectors,
                         __m256 *sums)
{
    __m256 number = _mm256_broadcast_ss(value);

#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        const float *from = (const float *)(const void *)(b[v / 2] + (size_t)at);

        sums[v] = _mm256_fmadd_ps(number, _mm256_loadu_ps(from + (size_t)(v % 2) * LANES), sums[v]);
    }
}

/* The lanes of the last vector of `columns`. */
SPARSE_INLINE __m256i lanes_of(int columns)
{
    int rest = (columns - 1) % LANES + 1;

    return _mm256_cmpgt_epi32(_mm256_set1_epi32(rest), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* `vectors` is a constant at every call. */
SPARSE_INLINE void tile_of(const sparse_tile *t, int vectors)
{
    const uint32_t *at = t->at;
    const float *value = t->value;
    const char *b[PANELS];
    __m256i last = lanes_of(t->columns);

    for (int panel = 0; panel < PANELS; panel++) {
        b[panel] = (const char *)t->b + panel * t->b_panel;
    }
    for (int64_t i = 0; i < t->row_count; i++) {
        float *c = (float *)(void *)((char *)t->c + (int64_t)t->rows[i].row * t->c_pitch);
        const uint32_t *end = at + t->rows[i].count;
        __m256 sums[COLUMNS / LANES];

#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            sums[v] = _mm256_setzero_ps();
        }
        if (t->accumulate) {
#pragma GCC unroll 8
            for (int v = 0; v + 1 < vectors; v++) {
                sums[v] = _mm256_loadu_ps(c + (size_t)v * LANES);
            }
            sums[vectors - 1] = _mm256_maskload_ps(c + (size_t)(vectors - 1) * LANES, last);
        }
        for (; at < end; at++, value++) {
            entry(b, *at, value, vectors, sums);
        }
#pragma GCC unroll 8
        for (int v = 0; v + 1 < vectors; v++) {
            _mm256_storeu_ps(c + (size_t)v * LANES, sums[v]);
        }
        _mm256_maskstore_ps(c + (size_t)(vectors - 1) * LANES, last, sums[vectors - 1]);
    }
}

static void tile(const sparse_tile *t)
{
    switch ((t->columns + LANES - 1) / LANES) {
    case 1: tile_of(t, 1); break;
    case 2: tile_of(t, 2); break;
    case 3: tile_of(t, 3); break;
    case 4: tile_of(t, 4); break;
    case 5: tile_of(t, 5); break;
    case 6: tile_of(t, 6); break;
    case 7: tile_of(t, 7); break;
    default: tile_of(t, 8); break;
    }
}

const sparse_kernel sparse_f32_64__avx2 = {
    "sparse_f32_64__avx2", BRGEMM_F32, COLUMNS, PANEL, 1, LANES, tile, NULL};
