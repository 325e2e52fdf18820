/* Integer matrix product C = A x B of one unsigned and one signed operand of 8 bits, summed exactly
 * in 32 bits (wrapping beyond), finished by one rounding.
 *
 *   packed A: panels of `mr` rows:    a[row / mr][k / 4][row % mr][k % 4]
 *   packed B: panels of `nr` columns: b[column / nr][k / 4][column % nr][k % 4]
 *
 * Steps of k are padded to a multiple of 4: with zeros in the weights, so that anything does in the
 * activations. The signed operand holds weights; what is
 * stored the other way round is moved by 128 while it is packed (`flip` = 0x80) and its zero point
 * with it. Zero points and biases come in as offsets added to the sums: those of the activations
 * through sums of weights, those of the weights through sums of activations. All variants give the
 * same bits. */
#ifndef KERNELS_GEMM_GEMM_S8_H
#define KERNELS_GEMM_GEMM_S8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/isa.h"

enum {
    GEMM_S8_MOST_NR = 64,
    GEMM_S8_STEP = 4,
    GEMM_S8_SLACK = 64 /* bytes after a packed block that packing functions may overwrite */
};

typedef enum gemm_s8_result {
    GEMM_S8_BYTES, /* u8 or s8, requantised */
    GEMM_S8_SUMS,  /* int32_t */
    GEMM_S8_FLOATS /* float */
} gemm_s8_result;

/* What happens to a sum: offsets are added (wrapping), then
 *     bytes:  saturate(round_half_to_even((float)sum * factor) + zero) to [low, high]
 *     floats: (float)sum * factor, clamped to [lower, upper]
 * by the rule of tensor/quantize.h. */
typedef struct gemm_s8_finish {
    gemm_s8_result result;
    const int32_t *row_offset;    /* [m] or NULL */
    const int32_t *column_offset; /* [n] or NULL */
    const float *row_factor;      /* [m] or NULL: 1 */
    const float *column_factor;   /* [n] or NULL: 1; multiplied after the row's */
    int32_t zero, low, high;      /* low <= high */
    float lower, upper;           /* -INFINITY and INFINITY: no clamp */
} gemm_s8_finish;

/* One tile: `rows` <= mr, `columns` <= nr. */
typedef struct gemm_s8_tile {
    int64_t steps;    /* groups of four k */
    const uint8_t *a; /* packed panel */
    const uint8_t *b; /* packed panel */
    void *c;          /* element (row, column) at row * c_stride + column */
    int64_t c_stride;
    int rows;
    int columns;
    bool a_is_unsigned;           /* then B is signed; else the other way round */
    const gemm_s8_finish *finish; /* pointers are those of this tile */
} gemm_s8_tile;

/* A variant: its tile and the blocking that suits it. */
typedef struct gemm_s8_kernel {
    const char *name;
    int mr;
    int nr;
    void (*tile)(const gemm_s8_tile *t);
    bool (*present)(void); /* NULL: the variant's level says all */
} gemm_s8_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant gemm_s8_variants[];
extern const int gemm_s8_variant_count;

/* True when the variant may run now. */
bool gemm_s8_usable(const isa_variant *variant);
/* The best variant that may run now. */
const gemm_s8_kernel *gemm_s8_select(void);

/* k rounded up to whole steps. */
static inline int64_t gemm_s8_padded(int64_t k)
{
    return (k + GEMM_S8_STEP - 1) / GEMM_S8_STEP * GEMM_S8_STEP;
}

/* Bytes of a packed operand with `extent` rows (or columns) and panels of `width`. The caller has
 * checked that the product fits. */
static inline int64_t gemm_s8_packed_size(int64_t extent, int64_t k, int width)
{
    return (extent + width - 1) / width * width * gemm_s8_padded(k);
}

/* A matrix of bytes in memory: element (line, step) at line * line_stride + step * k_stride; each
 * is XORed with `flip`. Lines are rows of A or columns of B. */
typedef struct gemm_s8_matrix {
    const uint8_t *data;
    int64_t line_stride;
    int64_t k_stride;
    int64_t k;
    uint8_t flip;
} gemm_s8_matrix;

/* Packs lines [first, first + count) of a gemm_s8_matrix into panels of `width`. */
void gemm_s8_pack(const void *matrix, int64_t first, int64_t count, int width, uint8_t *to);

/* sums[i] = factor times the sum of packed line i, of `count` lines of unsigned bytes
 * (wrapping). */
void gemm_s8_sum_lines(const uint8_t *packed, int64_t count, int64_t k, int width, int32_t factor,
                       int32_t *sums);

/* Where the driver gets B from: panels packed before (`packed`), or a function that packs columns
 * [first, first + count), all steps, into panels of `width` at `to`. */
typedef struct gemm_s8_source {
    const uint8_t *packed;
    void (*pack)(const void *context, int64_t first, int64_t count, int width, uint8_t *to);
    const void *context;
} gemm_s8_source;

/* A product, or the columns [n_first, n_first + n) of one: packed_a holds rows [0, m). `c` and the
 * pointers of `finish` address row 0, column 0 of the whole product. */
typedef struct gemm_s8_problem {
    int64_t m, k;
    int64_t n_first, n; /* n_first is a multiple of nr */
    const uint8_t *packed_a;
    bool a_is_unsigned;
    gemm_s8_source b;
    int32_t b_factor; /* times the sum of a column of B is added to the column's sums */
    int32_t *b_sums;  /* room for a block of columns, instead of finish.column_offset; or NULL */
    void *c;
    int64_t c_stride;
    gemm_s8_finish finish;
} gemm_s8_problem;

/* Columns of B that are packed at a time, a multiple of nr: about half of a second-level cache. */
int64_t gemm_s8_block(const gemm_s8_kernel *kernel, int64_t k);

/* Bytes of workspace that gemm_s8_run needs when n columns of B are packed on the way. */
int64_t gemm_s8_workspace(const gemm_s8_kernel *kernel, int64_t k, int64_t n);

/* Computes the problem; `workspace` may be NULL when B is packed already. */
void gemm_s8_run(const gemm_s8_kernel *kernel, const gemm_s8_problem *p, uint8_t *workspace);

#endif
