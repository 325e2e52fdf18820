/* Single-precision matrix product C = A x B with a fused finish, from packed panels.
 *
 *   packed A: panels of `mr` rows, each k-major:    a[row / mr][k][row % mr], zero-padded rows
 *   packed B: panels of `nr` columns, each k-major: b[column / nr][k][column % nr], zero-padded
 *
 * A tile of mr x nr results stays in registers over a block of `kc` steps of k; a block of B
 * (kc x nc) stays in the second-level cache while the panels of A pass by. The order of additions
 * for one result is k ascending, in blocks of kc: it depends on the shape alone, so any split of
 * rows and columns among threads gives the same bits. */
#ifndef KERNELS_GEMM_GEMM_F32_H
#define KERNELS_GEMM_GEMM_F32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/isa.h"

enum { GEMM_F32_MOST_MR = 16, GEMM_F32_MOST_NR = 64 };

/* What happens to a result when its last step of k is done: bias, residual, then clamp. */
typedef struct gemm_f32_finish {
    const float *row_bias;    /* [m] or NULL */
    const float *column_bias; /* [n] or NULL */
    const float *residual;    /* [m][residual_stride], added after the bias; NULL: none */
    int64_t residual_stride;
    float lower; /* -INFINITY and INFINITY: no clamp. NaN passes through. */
    float upper;
} gemm_f32_finish;

/* One tile: `rows` <= mr, `columns` <= nr. */
typedef struct gemm_f32_tile {
    int64_t k;
    const float *a;      /* packed panel */
    const float *b;      /* packed panel */
    const float *next_a; /* the panel that comes after `a`, to have it near by then */
    float *c;            /* c[row * c_stride + column] */
    int64_t c_stride;
    int rows;
    int columns;
    bool accumulate;               /* add to what is in c */
    const gemm_f32_finish *finish; /* NULL: store the plain sum; pointers are those of this tile */
} gemm_f32_tile;

/* A variant: its tile and the blocking that suits it. */
typedef struct gemm_f32_kernel {
    const char *name;
    int mr;
    int nr;
    int kc; /* steps of k per block */
    int nc; /* columns per block of B, a multiple of nr */
    void (*tile)(const gemm_f32_tile *t);
} gemm_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant gemm_f32_variants[];
extern const int gemm_f32_variant_count;

/* The best variant that may run now. */
const gemm_f32_kernel *gemm_f32_select(void);

/* Floats of a packed operand with `extent` rows (or columns), panels of `width`, and `k` steps.
 * The caller has checked that the product fits. */
static inline int64_t gemm_f32_packed_size(int64_t extent, int64_t k, int width)
{
    return (extent + width - 1) / width * width * k;
}

/* Packs `extent` rows x `k` steps of source[row * row_stride + step * k_stride] into panels of
 * `width`. Serves A (rows) and B (columns as "rows") alike. */
void gemm_f32_pack(const float *source, int64_t row_stride, int64_t k_stride, int64_t extent,
                   int64_t k, int width, float *packed);

/* Where the driver gets B from: panels packed before (`packed`), or a function that packs columns
 * [n0, n0 + n) x steps [k0, k0 + k) into panels of `width` at `to`. */
typedef struct gemm_f32_source {
    const float *packed;
    void (*pack)(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                 float *to);
    const void *context;
} gemm_f32_source;

/* A plain row-major matrix b[k * stride + n] as context of gemm_f32_pack_rows. */
typedef struct gemm_f32_matrix {
    const float *data;
    int64_t k_stride;
    int64_t n_stride;
} gemm_f32_matrix;
void gemm_f32_pack_matrix(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n,
                          int width, float *to);

/* A product, or the columns [n_first, n_first + n) of one: packed_a holds rows [0, m). `c` and the
 * pointers of `finish` address row 0, column 0 of the whole product. */
typedef struct gemm_f32_problem {
    int64_t m, k;
    int64_t n_first, n; /* n_first is a multiple of nr */
    const float *packed_a;
    gemm_f32_source b;
    float *c;
    int64_t c_stride;
    gemm_f32_finish finish;
} gemm_f32_problem;

/* Floats of workspace that gemm_f32_run needs when B is packed on the way. */
int64_t gemm_f32_workspace(const gemm_f32_kernel *kernel, int64_t k, int64_t n);

/* Computes the problem; `workspace` may be NULL when B is packed already. */
void gemm_f32_run(const gemm_f32_kernel *kernel, const gemm_f32_problem *p, float *workspace);

#endif
