/* The portable rows, and the list of variants. */
#include <math.h>

#include "kernels/sparse/sparse_variants.h"

static int64_t list(const float *x, int64_t n, uint32_t step, uint32_t *at, float *value)
{
    return sparse_list_singly(x, n, step, at, value);
}

int64_t sparse_join_singly(const sparse_block *block, const sparse_joined *to)
{
    const uint32_t *at = block->at;
    const float *value = block->value;
    int64_t rows = 0;
    int64_t entry = 0;

    for (int64_t i = 0; i < block->row_count; i++) {
        int64_t first = entry;

        for (uint32_t j = 0; j < block->rows[i].count; j++, at++, value++) {
            uint32_t k = *at >> to->shift;

            to->at[entry] = *at; /* written in any case: a branch would be guessed wrong */
            to->value[entry] = *value;
            entry += to->keep[k / 16] >> k % 16 & 1;
        }
        to->rows[rows] = (sparse_row){block->rows[i].row, (uint32_t)(entry - first)};
        rows += entry > first || !to->drops;
    }
    return rows;
}

static int64_t count(const float *x, int64_t n)
{
    int64_t kept = 0;

    for (int64_t k = 0; k < n; k++) {
        kept += x[k] != 0.0f;
    }
    return kept;
}

static float clamped(float x, const brgemm_finish *f)
{
    x = x < f->lower ? f->lower : x; /* NaN passes through */
    return x > f->upper ? f->upper : x;
}

static void finish(const float *from, int64_t from_pitch, float *to, int64_t to_pitch, int64_t rows,
                   int64_t columns, const brgemm_finish *f)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *sums = from + i * from_pitch;
        float *row = to + i * to_pitch;
        const float *residual = f->residual != NULL ? f->residual + i * f->residual_pitch : NULL;

        for (int64_t j = 0; j < columns; j++) {
            row[j] = sums[j] + (f->bias != NULL ? f->bias[j] : 0.0f);
            row[j] += residual != NULL ? residual[j] : 0.0f;
            row[j] = f->activate == NULL ? clamped(row[j], f) : row[j];
        }
        if (f->activate != NULL) {
            f->activate(row, row, columns);
        }
    }
}

static const sparse_rows_kernel sparse_rows_f32__generic = {"sparse_rows_f32__generic", list,
                                                            sparse_join_singly, count, finish};

const isa_variant sparse_rows_variants[] = {
    {"sparse_rows_f32__generic", ISA_GENERIC, &sparse_rows_f32__generic},
#ifdef SPRY_HAVE_AVX2
    {"sparse_rows_f32__avx2", ISA_AVX2, &sparse_rows_f32__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"sparse_rows_f32__avx512", ISA_AVX512, &sparse_rows_f32__avx512},
#endif
};
const int sparse_rows_variant_count = sizeof sparse_rows_variants / sizeof *sparse_rows_variants;

const sparse_rows_kernel *sparse_rows_select(void)
{
    return isa_select(sparse_rows_variants, sparse_rows_variant_count);
}
