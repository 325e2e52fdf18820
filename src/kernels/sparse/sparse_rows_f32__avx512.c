/* Rows of f32 with AVX-512: lists by comparison to a mask and compression. */
#include <immintrin.h>
#include <math.h>

#include "kernels/sparse/sparse_variants.h"

enum { LANES = 16, AHEAD = 4 }; /* rows: results lie far apart */

SPARSE_INLINE __mmask16 lanes_of(int64_t left)
{
    return (__mmask16)(left >= LANES ? 0xFFFF : (1u << left) - 1);
}

static int64_t list(const float *x, int64_t n, uint32_t step, uint32_t *at, float *value)
{
    const __m512i stride = _mm512_set1_epi32((int32_t)(step * LANES));
    __m512i here =
        _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                           _mm512_set1_epi32((int32_t)step));
    int64_t count = 0;

    for (int64_t k = 0; k < n; k += LANES) {
        __m512 numbers = _mm512_maskz_loadu_ps(lanes_of(n - k), x + k);
        __mmask16 kept = _mm512_cmp_ps_mask(numbers, _mm512_setzero_ps(), _CMP_NEQ_UQ);

        /* To a register and then whole: compressing to memory is slow on some processors. */
        _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(kept, numbers));
        _mm512_storeu_si512(at + count, _mm512_maskz_compress_epi32(kept, here));
        count += __builtin_popcount(kept);
        here = _mm512_add_epi32(here, stride);
    }
    return count;
}

/* All words of the bitmap are in one register, where entries look up theirs. */
static int64_t join(const sparse_block *block, const sparse_joined *to)
{
    const __m512i keep = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)to->keep));
    const __m128i shift = _mm_cvtsi32_si128(to->shift);
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i low = _mm512_set1_epi32(15);
    const uint32_t *at = block->at;
    const float *value = block->value;
    uint32_t *to_at = to->at;
    float *to_value = to->value;
    int64_t rows = 0;

    for (int64_t i = 0; i < block->row_count; i++) {
        int64_t left = block->rows[i].count;
        uint32_t count = 0;

        for (; left > 0; left -= LANES, at += LANES, value += LANES) {
            __mmask16 lanes = lanes_of(left);
            __m512i places = _mm512_maskz_loadu_epi32(lanes, at);
            __m512i k = _mm512_srl_epi32(places, shift);
            __m512i word = _mm512_permutexvar_epi32(_mm512_srli_epi32(k, 4), keep);
            __m512i bit = _mm512_srlv_epi32(word, _mm512_and_si512(k, low));
            __mmask16 kept = _mm512_mask_test_epi32_mask(lanes, bit, one);
            __m512 numbers = _mm512_maskz_loadu_ps(lanes, value);

            _mm512_storeu_ps(to_value + count, _mm512_maskz_compress_ps(kept, numbers));
            _mm512_storeu_si512(to_at + count, _mm512_maskz_compress_epi32(kept, places));
            count += (uint32_t)__builtin_popcount(kept);
        }
        at += left;
        value += left;
        to_at += count;
        to_value += count;
        to->rows[rows] = (sparse_row){block->rows[i].row, count};
        rows += count > 0 || !to->drops;
    }
    return rows;
}

static int64_t count(const float *x, int64_t n)
{
    int64_t kept = 0;

    for (int64_t k = 0; k < n; k += LANES) {
        __m512 numbers = _mm512_maskz_loadu_ps(lanes_of(n - k), x + k);

        kept += __builtin_popcount(_mm512_cmp_ps_mask(numbers, _mm512_setzero_ps(), _CMP_NEQ_UQ));
    }
    return kept;
}

static void finish(const float *from, int64_t from_pitch, float *to, int64_t to_pitch, int64_t rows,
                   int64_t columns, const brgemm_finish *f)
{
    bool clamps = f->activate == NULL;
    __m512 lower = _mm512_set1_ps(clamps ? f->lower : -INFINITY);
    __m512 upper = _mm512_set1_ps(clamps ? f->upper : INFINITY);

    for (int64_t i = 0; i < rows; i++) {
        const float *sums = from + i * from_pitch;
        float *row = to + i * to_pitch;

        for (int64_t j = 0; j < columns; j += LANES) {
            __mmask16 lanes = lanes_of(columns - j);
            __m512 sum;

            __builtin_prefetch(row + AHEAD * to_pitch + j, 1, 3);
            sum = _mm512_maskz_loadu_ps(lanes, sums + j);
            if (f->bias != NULL) {
                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes, f->bias + j));
            }
            if (f->residual != NULL) {
                const float *residual = f->residual + i * f->residual_pitch + j;

                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes, residual));
            }
            /* The second operand comes back when one is NaN. */
            sum = _mm512_min_ps(upper, _mm512_max_ps(lower, sum));
            _mm512_mask_storeu_ps(row + j, lanes, sum);
        }
        if (!clamps) {
            f->activate(row, row, columns);
        }
    }
}

const sparse_rows_kernel sparse_rows_f32__avx512 = {"sparse_rows_f32__avx512", list, join, count,
                                                    finish};
