/* Rows of f32 with AVX2. */
#include <immintrin.h>
#include <math.h>

#include "kernels/sparse/sparse_variants.h"

enum { LANES = 8 };

static int64_t list(const float *x, int64_t n, uint32_t step, uint32_t *at, float *value)
{
    return sparse_list_singly(x, n, step, at, value);
}

SPARSE_INLINE __m256i lanes_of(int64_t left)
{
    int lanes = left < LANES ? (int)left : LANES;

    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static int64_t count(const float *x, int64_t n)
{
    int64_t kept = 0;

    for (int64_t k = 0; k < n; k += LANES) {
        __m256 numbers = _mm256_maskload_ps(x + k, lanes_of(n - k));
        __m256 differs = _mm256_cmp_ps(numbers, _mm256_setzero_ps(), _CMP_NEQ_UQ);

        kept += __builtin_popcount((unsigned)_mm256_movemask_ps(differs));
    }
    return kept;
}

static void finish(const float *from, int64_t from_pitch, float *to, int64_t to_pitch, int64_t rows,
                   int64_t columns, const brgemm_finish *f)
{
    bool clamps = f->activate == NULL;
    __m256 lower = _mm256_set1_ps(clamps ? f->lower : -INFINITY);
    __m256 upper = _mm256_set1_ps(clamps ? f->upper : INFINITY);

    for (int64_t i = 0; i < rows; i++) {
        const float *sums = from + i * from_pitch;
        float *row = to + i * to_pitch;

        for (int64_t j = 0; j < columns; j += LANES) {
            __m256i lanes = lanes_of(columns - j);
            __m256 sum = _mm256_maskload_ps(sums + j, lanes);

            if (f->bias != NULL) {
                sum = _mm256_add_ps(sum, _mm256_maskload_ps(f->bias + j, lanes));
            }
            if (f->residual != NULL) {
                const float *residual = f->residual + i * f->residual_pitch + j;

                sum = _mm256_add_ps(sum, _mm256_maskload_ps(residual, lanes));
            }
            /* The second operand comes back when one is NaN. */
            sum = _mm256_min_ps(upper, _mm256_max_ps(lower, sum));
            _mm256_maskstore_ps(row + j, lanes, sum);
        }
        if (!clamps) {
            f->activate(row, row, columns);
        }
    }
}

const sparse_rows_kernel sparse_rows_f32__avx2 = {"sparse_rows_f32__avx2", list, sparse_join_singly,
                                                  count, finish};
