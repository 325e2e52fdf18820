/* AVX-512 tile of 14 rows x 32 columns: 28 accumulators, 2 registers of B, 1 broadcast of A.
 *
 * Per step of k: 2 loads of B, 14 broadcasts of A, 28 fused multiply-adds; both FMA ports stay busy
 * as long as A and B come from the first two cache levels. */
#include <immintrin.h>

#include "kernels/gemm/gemm_f32_variants.h"

enum { MR = 14, NR = 32, LANES = 16, NARROW = 4 };

static inline __attribute__((always_inline)) __m512 finish_vector(const gemm_f32_finish *f, int row,
                                                                  int column, __mmask16 mask,
                                                                  __m512 sum)
{
    if (f->row_bias != NULL) {
        sum = _mm512_add_ps(sum, _mm512_set1_ps(f->row_bias[row]));
    }
    if (f->column_bias != NULL) {
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, f->column_bias + column));
    }
    if (f->residual != NULL) {
        const float *r = f->residual + row * f->residual_stride + column;

        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, r));
    }
    /* The second operand comes back when one is NaN. */
    sum = _mm512_max_ps(_mm512_set1_ps(f->lower), sum);
    return _mm512_min_ps(_mm512_set1_ps(f->upper), sum);
}

static inline __attribute__((always_inline)) void store_vector(const gemm_f32_tile *t, int row,
                                                               int column, __mmask16 mask,
                                                               __m512 sum)
{
    float *c = t->c + row * t->c_stride + column;

    if (t->accumulate) {
        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), sum);
    }
    if (t->finish != NULL) {
        sum = finish_vector(t->finish, row, column, mask, sum);
    }
    _mm512_mask_storeu_ps(c, mask, sum);
}

/* The tile's first 16 columns alone. `rows` is a constant at every call, so that the accumulators
 * become registers. */
static inline __attribute__((always_inline)) void tile_half(const gemm_f32_tile *t, int rows)
{
    int columns = t->columns < LANES ? t->columns : LANES;
    __m512 sum[MR];
    const float *a = t->a;
    const float *b = t->b;
    __mmask16 mask = (__mmask16)((1u << columns) - 1);

#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        sum[i] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < t->k; k++) {
        __m512 b0 = _mm512_loadu_ps(b);

#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(a[i]), b0, sum[i]);
        }
        a += MR;
        b += NR;
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        store_vector(t, i, 0, mask, sum[i]);
    }
}

static inline __attribute__((always_inline)) void tile_full(const gemm_f32_tile *t, int rows)
{
    __m512 left[MR];
    __m512 right[MR];
    const float *a = t->a;
    const float *b = t->b;
    const float *next_a = t->next_a;
    __mmask16 right_mask = (__mmask16)((1u << (t->columns - LANES)) - 1);

#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        left[i] = _mm512_setzero_ps();
        right[i] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < t->k; k++) {
        __m512 b0 = _mm512_loadu_ps(b);
        __m512 b1 = _mm512_loadu_ps(b + LANES);

        _mm_prefetch((const char *)next_a, _MM_HINT_T1);
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            __m512 x = _mm512_set1_ps(a[i]);

            left[i] = _mm512_fmadd_ps(x, b0, left[i]);
            right[i] = _mm512_fmadd_ps(x, b1, right[i]);
        }
        a += MR;
        b += NR;
        next_a += MR;
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        store_vector(t, i, 0, 0xFFFF, left[i]);
        store_vector(t, i, LANES, right_mask, right[i]);
    }
}

/* Up to NARROW columns from `first` on, with rows in the lanes: a column costs one multiplication
 * per step instead of one per row. The order of additions is that of the other tiles. */
static void tile_narrow(const gemm_f32_tile *t, int first)
{
    const __m512i lines = _mm512_setr_epi32(0, 16, 32, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    float sums[NARROW][LANES];
    __m512 sum[NARROW];
    const float *a = t->a;
    const float *b = t->b + first;
    __mmask16 mask = (__mmask16)((1u << (t->columns - first)) - 1);

#pragma GCC unroll 4
    for (int j = 0; j < NARROW; j++) {
        sum[j] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < t->k; k++) {
        __m512 x = _mm512_maskz_loadu_ps((1u << MR) - 1, a);

#pragma GCC unroll 4
        for (int j = 0; j < NARROW; j++) {
            sum[j] = _mm512_fmadd_ps(x, _mm512_set1_ps(b[j]), sum[j]);
        }
        a += MR;
        b += NR;
    }
#pragma GCC unroll 4
    for (int j = 0; j < NARROW; j++) {
        _mm512_storeu_ps(sums[j], sum[j]);
    }
    for (int i = 0; i < t->rows; i++) {
        __m512 row =
            _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, lines, &sums[0][i], sizeof(float));

        store_vector(t, i, first, mask, row);
    }
}

static inline __attribute__((always_inline)) void tile_rows(const gemm_f32_tile *t, int rows)
{
    if (t->columns > LANES + NARROW) {
        tile_full(t, rows);
    } else {
        tile_half(t, rows);
    }
}

static void tile(const gemm_f32_tile *t)
{
    if (t->columns <= NARROW && t->rows > NARROW) {
        tile_narrow(t, 0);
        return;
    }
    if (t->columns > LANES && t->columns <= LANES + NARROW) {
        tile_narrow(t, LANES);
    }
    switch (t->rows) {
    case 14: tile_rows(t, 14); break;
    case 13: tile_rows(t, 13); break;
    case 12: tile_rows(t, 12); break;
    case 11: tile_rows(t, 11); break;
    case 10: tile_rows(t, 10); break;
    case 9: tile_rows(t, 9); break;
    case 8: tile_rows(t, 8); break;
    case 7: tile_rows(t, 7); break;
    case 6: tile_rows(t, 6); break;
    case 5: tile_rows(t, 5); break;
    case 4: tile_rows(t, 4); break;
    case 3: tile_rows(t, 3); break;
    case 2: tile_rows(t, 2); break;
    default: tile_rows(t, 1); break;
    }
}

const gemm_f32_kernel gemm_f32_14x32__avx512 = {"gemm_f32_14x32__avx512", MR, NR, 384, 256, tile};
