/* Packing, the blocked loops around the tiles, and the portable tile. */
#include "kernels/gemm/gemm_f32.h"

#include <math.h>
#include <string.h>

#include "kernels/gemm/gemm_f32_variants.h"

/* ---- variants ---- */

enum { GENERIC_MR = 4, GENERIC_NR = 16 };

static float finished(const gemm_f32_finish *f, int row, int column, float sum)
{
    sum += f->row_bias != NULL ? f->row_bias[row] : 0.0f;
    sum += f->column_bias != NULL ? f->column_bias[column] : 0.0f;
    if (f->residual != NULL) {
        sum += f->residual[row * f->residual_stride + column];
    }
    /* Written so that NaN stays NaN. */
    sum = sum < f->lower ? f->lower : sum;
    return sum > f->upper ? f->upper : sum;
}

static void tile_4x16(const gemm_f32_tile *t)
{
    float sum[GENERIC_MR][GENERIC_NR] = {{0}};

    for (int64_t k = 0; k < t->k; k++) {
        const float *a = t->a + k * GENERIC_MR;
        const float *b = t->b + k * GENERIC_NR;

        for (int i = 0; i < GENERIC_MR; i++) {
            for (int j = 0; j < GENERIC_NR; j++) {
                sum[i][j] += a[i] * b[j];
            }
        }
    }
    for (int i = 0; i < t->rows; i++) {
        float *c = t->c + i * t->c_stride;

        for (int j = 0; j < t->columns; j++) {
            float total = t->accumulate ? c[j] + sum[i][j] : sum[i][j];

            c[j] = t->finish != NULL ? finished(t->finish, i, j, total) : total;
        }
    }
}

static const gemm_f32_kernel gemm_f32_4x16__generic = {
    "gemm_f32_4x16__generic", GENERIC_MR, GENERIC_NR, 256, 256, tile_4x16};

const isa_variant gemm_f32_variants[] = {
    {"gemm_f32_4x16__generic", ISA_GENERIC, &gemm_f32_4x16__generic},
#ifdef SPRY_HAVE_AVX2
    {"gemm_f32_6x16__avx2", ISA_AVX2, &gemm_f32_6x16__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"gemm_f32_14x32__avx512", ISA_AVX512, &gemm_f32_14x32__avx512},
#endif
};
const int gemm_f32_variant_count = sizeof gemm_f32_variants / sizeof *gemm_f32_variants;

const gemm_f32_kernel *gemm_f32_select(void)
{
    return isa_select(gemm_f32_variants, gemm_f32_variant_count);
}

/* ---- packing ---- */

enum { SQUARE = 4 }; /* side of the blocks that are transposed in registers */

typedef float pack_vector __attribute__((vector_size(SQUARE * sizeof(float))));

/* to[step * width + row] = from[row * row_stride + step] for a square block. */
static inline void transpose_square(const float *from, int64_t row_stride, int width, float *to)
{
    pack_vector row[SQUARE];
    pack_vector pair[SQUARE];

    for (int i = 0; i < SQUARE; i++) {
        memcpy(&row[i], from + i * row_stride, sizeof row[i]);
    }
    pair[0] = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
    pair[1] = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
    pair[2] = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
    pair[3] = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
    row[0] = __builtin_shufflevector(pair[0], pair[1], 0, 1, 4, 5);
    row[1] = __builtin_shufflevector(pair[0], pair[1], 2, 3, 6, 7);
    row[2] = __builtin_shufflevector(pair[2], pair[3], 0, 1, 4, 5);
    row[3] = __builtin_shufflevector(pair[2], pair[3], 2, 3, 6, 7);
    for (int i = 0; i < SQUARE; i++) {
        memcpy(to + i * width, &row[i], sizeof row[i]);
    }
}

/* A full panel whose k steps are adjacent in memory. Rows are taken four at a time over whole cache
 * lines; where the width is no multiple of four, the last block writes some rows again. */
static void pack_panel_k_adjacent(const float *source, int64_t row_stride, int64_t k, int width,
                                  float *to)
{
    enum { STEPS = 16 };
    int64_t step = 0;

    for (; step + STEPS <= k; step += STEPS) {
        for (int done = 0; done < width; done += SQUARE) {
            int row = done + SQUARE <= width ? done : width - SQUARE;
            const float *from = source + row * row_stride + step;

            for (int s = 0; s < STEPS; s += SQUARE) {
                transpose_square(from + s, row_stride, width, to + (step + s) * width + row);
            }
        }
    }
    for (; step < k; step++) {
        for (int row = 0; row < width; row++) {
            to[step * width + row] = source[row * row_stride + step];
        }
    }
}

/* A few floats: a call of memcpy would cost more. */
static inline void copy_step(float *to, const float *from, int count)
{
    int i = 0;

    for (; i + SQUARE <= count; i += SQUARE) {
        memcpy(to + i, from + i, SQUARE * sizeof *to);
    }
    for (; i < count; i++) {
        to[i] = from[i];
    }
}

static void pack_panel(const float *source, int64_t row_stride, int64_t k_stride, int rows,
                       int64_t k, int width, float *to)
{
    if (rows == width && k_stride == 1) {
        pack_panel_k_adjacent(source, row_stride, k, width, to);
        return;
    }
    for (int64_t step = 0; step < k; step++) {
        const float *from = source + step * k_stride;
        float *line = to + step * width;

        if (row_stride == 1) {
            copy_step(line, from, rows);
        } else {
            for (int row = 0; row < rows; row++) {
                line[row] = from[row * row_stride];
            }
        }
        for (int row = rows; row < width; row++) {
            line[row] = 0.0f;
        }
    }
}

void gemm_f32_pack(const float *source, int64_t row_stride, int64_t k_stride, int64_t extent,
                   int64_t k, int width, float *packed)
{
    for (int64_t row = 0; row < extent; row += width) {
        int rows = (int)(extent - row < width ? extent - row : width);

        pack_panel(source + row * row_stride, row_stride, k_stride, rows, k, width,
                   packed + row * k);
    }
}

void gemm_f32_pack_matrix(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n,
                          int width, float *to)
{
    const gemm_f32_matrix *b = context;

    gemm_f32_pack(b->data + k0 * b->k_stride + n0 * b->n_stride, b->n_stride, b->k_stride, n, k,
                  width, to);
}

/* ---- the loops ---- */

int64_t gemm_f32_workspace(const gemm_f32_kernel *kernel, int64_t k, int64_t n)
{
    int64_t kc = k < kernel->kc ? k : kernel->kc;
    int64_t nc = n < kernel->nc ? n : kernel->nc;

    return gemm_f32_packed_size(nc, kc, kernel->nr);
}

/* One block of B: columns [n0, n0 + n) x steps [k0, k0 + k), whose panels lie `panel_stride`
 * floats apart from `b` on. */
typedef struct block {
    int64_t n0, n;
    int64_t k0, k;
    const float *b;
    int64_t panel_stride;
} block;

static gemm_f32_finish finish_at(const gemm_f32_finish *f, int64_t row, int64_t column)
{
    gemm_f32_finish at = *f;

    at.row_bias = f->row_bias != NULL ? f->row_bias + row : NULL;
    at.column_bias = f->column_bias != NULL ? f->column_bias + column : NULL;
    at.residual = f->residual != NULL ? f->residual + row * f->residual_stride + column : NULL;
    return at;
}

static void run_block(const gemm_f32_kernel *kernel, const gemm_f32_problem *p, const block *at)
{
    bool is_last = at->k0 + at->k == p->k;

    for (int64_t row = 0; row < p->m; row += kernel->mr) {
        int64_t rows = p->m - row < kernel->mr ? p->m - row : kernel->mr;
        const float *a = p->packed_a + row * p->k + at->k0 * kernel->mr;
        const float *next_a = row + rows < p->m ? a + kernel->mr * p->k : a;

        for (int64_t j = 0; j < at->n; j += kernel->nr) {
            int64_t column = at->n0 + j;
            gemm_f32_finish finish = finish_at(&p->finish, row, column);
            gemm_f32_tile tile = {.k = at->k,
                                  .a = a,
                                  .next_a = j == 0 ? next_a : a, /* asked for once */
                                  .b = at->b + j / kernel->nr * at->panel_stride,
                                  .c = p->c + row * p->c_stride + column,
                                  .c_stride = p->c_stride,
                                  .rows = (int)rows,
                                  .columns = (int)(at->n - j < kernel->nr ? at->n - j : kernel->nr),
                                  .accumulate = at->k0 > 0,
                                  .finish = is_last ? &finish : NULL};

            kernel->tile(&tile);
        }
    }
}

void gemm_f32_run(const gemm_f32_kernel *kernel, const gemm_f32_problem *p, float *workspace)
{
    int64_t end = p->n_first + p->n;

    for (int64_t n0 = p->n_first; n0 < end; n0 += kernel->nc) {
        int64_t n = end - n0 < kernel->nc ? end - n0 : kernel->nc;
        int64_t k0 = 0;

        do { /* k = 0 still stores the finish of an empty sum */
            block at = {.n0 = n0, .n = n, .k0 = k0};

            at.k = p->k - k0 < kernel->kc ? p->k - k0 : kernel->kc;
            if (p->b.packed != NULL) {
                at.b = p->b.packed + n0 * p->k + k0 * kernel->nr;
                at.panel_stride = p->k * kernel->nr;
            } else {
                p->b.pack(p->b.context, k0, at.k, n0, n, kernel->nr, workspace);
                at.b = workspace;
                at.panel_stride = at.k * kernel->nr;
            }
            run_block(kernel, p, &at);
            k0 += at.k;
        } while (k0 < p->k);
    }
}
