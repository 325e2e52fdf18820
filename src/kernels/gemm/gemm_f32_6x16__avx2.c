/* AVX2 + FMA tile of 6 rows x 16 columns: 12 accumulators, 2 registers of B, 1 broadcast of A. */
#include <immintrin.h>

#include "kernels/gemm/gemm_f32_variants.h"

enum { MR = 6, NR = 16, LANES = 8 };

/* Lane masks for 0..8 valid columns: load eight integers ending `valid` lanes in. */
static const int32_t mask_source[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};

static inline __attribute__((always_inline)) __m256i mask_of(int valid)
{
    valid = valid < 0 ? 0 : valid > LANES ? LANES : valid;
    return _mm256_loadu_si256((const __m256i *)(mask_source + LANES - valid));
}

static inline __attribute__((always_inline)) __m256 finish_vector(const gemm_f32_finish *f, int row,
                                                                  int column, __m256i mask,
                                                                  __m256 sum)
{
    if (f->row_bias != NULL) {
        sum = _mm256_add_ps(sum, _mm256_set1_ps(f->row_bias[row]));
    }
    if (f->column_bias != NULL) {
        sum = _mm256_add_ps(sum, _mm256_maskload_ps(f->column_bias + column, mask));
    }
    if (f->residual != NULL) {
        const float *r = f->residual + row * f->residual_stride + column;

        sum = _mm256_add_ps(sum, _mm256_maskload_ps(r, mask));
    }
    /* The second operand comes back when one is NaN. */
    sum = _mm256_max_ps(_mm256_set1_ps(f->lower), sum);
    return _mm256_min_ps(_mm256_set1_ps(f->upper), sum);
}

static inline __attribute__((always_inline)) void store_vector(const gemm_f32_tile *t, int row,
                                                               int column, __m256i mask, __m256 sum)
{
    float *c = t->c + row * t->c_stride + column;

    if (t->accumulate) {
        sum = _mm256_add_ps(_mm256_maskload_ps(c, mask), sum);
    }
    if (t->finish != NULL) {
        sum = finish_vector(t->finish, row, column, mask, sum);
    }
    _mm256_maskstore_ps(c, mask, sum);
}

/* `rows` is a constant at every call, so that the accumulators become registers. */
static inline __attribute__((always_inline)) void tile_rows(const gemm_f32_tile *t, int rows)
{
    __m256 left[MR];
    __m256 right[MR];
    const float *a = t->a;
    const float *b = t->b;
    __m256i left_mask = mask_of(t->columns);
    __m256i right_mask = mask_of(t->columns - LANES);

#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        left[i] = _mm256_setzero_ps();
        right[i] = _mm256_setzero_ps();
    }
    for (int64_t k = 0; k < t->k; k++) {
        __m256 b0 = _mm256_loadu_ps(b);
        __m256 b1 = _mm256_loadu_ps(b + LANES);

#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            __m256 x = _mm256_broadcast_ss(a + i);

            left[i] = _mm256_fmadd_ps(x, b0, left[i]);
            right[i] = _mm256_fmadd_ps(x, b1, right[i]);
        }
        a += MR;
        b += NR;
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        store_vector(t, i, 0, left_mask, left[i]);
        store_vector(t, i, LANES, right_mask, right[i]);
    }
}

static void tile(const gemm_f32_tile *t)
{
    switch (t->rows) {
    case 6: tile_rows(t, 6); break;
    case 5: tile_rows(t, 5); break;
    case 4: tile_rows(t, 4); break;
    case 3: tile_rows(t, 3); break;
    case 2: tile_rows(t, 2); break;
    default: tile_rows(t, 1); break;
    }
}

const gemm_f32_kernel gemm_f32_6x16__avx2 = {"gemm_f32_6x16__avx2", MR, NR, 384, 240, tile};
