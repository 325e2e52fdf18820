/* Batch-reduce matrix product: the one tile that convolutions, products and Winograd share.
 *
 *     C[row][column] = finish(sum over taps t and channels k of A[row, t][k] * B[t][k][column])
 *
 * A is read where it lies: rows are pixels (or tokens) at a constant pitch, a tap is an offset. B
 * is packed once. Everything is channels-last, so that a row of C is contiguous.
 *
 *   packed B: panels of `nr` columns: b[column / nr][tap][k / group][column % nr][k % group],
 *             zeros beyond the last column and the last k
 *
 * `group` is how many k one instruction sums: 1 for f32, 2 for bf16, 4 for bytes. The order of
 * additions for one result is taps, then k, ascending: it depends on the shape alone, so how work
 * is cut among tiles and threads never changes a bit. (BF16 may add a group in either order.) */
#ifndef KERNELS_BRGEMM_BRGEMM_H
#define KERNELS_BRGEMM_BRGEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/isa.h"

enum { BRGEMM_MOST_MR = 32, BRGEMM_MOST_NR = 64 };

typedef enum brgemm_type {
    BRGEMM_F32,  /* A, B, C f32 */
    BRGEMM_BF16, /* A, B bf16; sums and C f32 */
    BRGEMM_S8    /* A u8 (or s8: brgemm_tile.flip), B s8; sums i32, exact, wrapping */
} brgemm_type;

/* What a sum of bytes becomes. */
typedef enum brgemm_result {
    BRGEMM_FLOATS, /* f32 */
    BRGEMM_BYTES,  /* u8 or s8 */
    BRGEMM_SUMS    /* i32 */
} brgemm_result;

/* Applied to floats when the rest of the finish is done: `to` may be `from`. */
typedef void brgemm_activation(float *to, const float *from, int64_t n);

/* What happens to a sum when its last step is done. Pointers are those of column 0.
 *
 * Floats:  v = sum + bias[column] + residual[row][column];
 *          v = activate(v), or clamp to [lower, upper]; NaN passes through
 * Bytes:   v = (float)(sum + offset[column] + row_offset[row]) * factor[column]; then
 *          BRGEMM_FLOATS: + bias + residual, activate or clamp as above
 *          BRGEMM_BYTES:  saturate(round_half_to_even(v) + zero) to [low, high]
 *          by the rule of tensor/quantize.h */
typedef struct brgemm_finish {
    const float *bias;     /* or NULL */
    const float *residual; /* or NULL; rows lie as those of C do, pitches in floats */
    int64_t residual_pitch;
    int64_t residual_second;
    brgemm_activation *activate; /* or NULL */
    float lower, upper;          /* -INFINITY and INFINITY: no clamp */
    brgemm_result result;
    const int32_t *offset;     /* or NULL */
    const int32_t *row_offset; /* of the tile's rows, or NULL */
    const float *factor;       /* or NULL: 1 */
    int32_t zero, low, high;
} brgemm_finish;

/* One tile: `rows` <= mr, `columns` <= nr. Rows [0, mr / 2) lie at their base plus row * pitch, the
 * others at base + second + (row - mr / 2) * pitch: one run of pixels (second = mr / 2 * pitch), or
 * pieces of two output rows. All pitches and offsets of A and C are in bytes. */
typedef struct brgemm_tile {
    const void *a;
    int64_t a_pitch;
    int64_t a_second;
    const int64_t *tap_offsets; /* [taps], of A */
    int taps;
    int64_t steps; /* groups of k per tap; the last may read up to group - 1 elements beyond k */
    const void *b; /* packed panel */
    uint8_t flip;  /* BRGEMM_S8: 0x80 makes signed A unsigned (its zero point moves by 128) */
    void *c;
    int64_t c_pitch;
    int64_t c_second;
    int rows;
    int columns;
    bool accumulate; /* the sum starts from C, which holds plain sums: f32, i32 for S8 */
    const brgemm_finish *finish; /* NULL: store the plain sums */
    const void *next;            /* read soon: asked for, 64 bytes per step; or NULL */
} brgemm_tile;

/* A variant. */
typedef struct brgemm_kernel {
    const char *name; /* "brgemm_f32_14x32__avx512" */
    brgemm_type type;
    int mr; /* even */
    int nr;
    int group; /* k per step */
    void (*tile)(const brgemm_tile *t);
    bool (*present)(void); /* NULL: the variant's level says all */
} brgemm_kernel;

/* The lists that dispatch, tests and benchmarks share, one per type: lowest level first. `table`
 * points to a brgemm_kernel. */
typedef struct brgemm_variants {
    const isa_variant *list;
    int count;
} brgemm_variants;
brgemm_variants brgemm_variants_of(brgemm_type type);

/* True when the variant may run now. */
bool brgemm_usable(const isa_variant *variant);

/* The best variant that may run now. */
const brgemm_kernel *brgemm_select(brgemm_type type);

/* The same for products of so many columns: where they fit a tile of fewer columns and more rows,
 * of the same level, that one. */
const brgemm_kernel *brgemm_select_narrow(brgemm_type type, int64_t columns);

/* Bytes of an element of A and B. */
static inline int64_t brgemm_size(brgemm_type type)
{
    return type == BRGEMM_F32 ? 4 : type == BRGEMM_BF16 ? 2 : 1;
}

/* To the nearest bf16, ties to even; NaN stays NaN. */
static inline uint16_t brgemm_bf16(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    if (x != x) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* Rows of the next tile when `left` are left. A last tile of very few would wait for its own sums
 * again and again: it takes some of the rows before it. */
static inline int brgemm_tile_rows(const brgemm_kernel *kernel, int64_t left)
{
    enum { SLOW_ROWS = 3 };

    if (left > kernel->mr && left <= kernel->mr + SLOW_ROWS) {
        return (int)((left + 1) / 2);
    }
    return left < kernel->mr ? (int)left : kernel->mr;
}

/* Bytes of packed B; the caller has checked that the product fits. */
int64_t brgemm_packed_size(const brgemm_kernel *kernel, int64_t taps, int64_t k, int64_t columns);

/* Weights in memory: element (tap, k, column) at tap * tap_stride + k * k_stride + column *
 * column_stride elements. F32 and BF16 kernels read floats, S8 ones bytes, XORed with `flip`. Where
 * `k_inner` is not 0, k counts two axes: k / k_inner * k_outer_stride + k % k_inner * k_stride. */
typedef struct brgemm_source {
    const void *data;
    int64_t tap_stride, k_stride, column_stride;
    uint8_t flip;
    int64_t k_inner, k_outer_stride;
} brgemm_source;
void brgemm_pack(const brgemm_kernel *kernel, const brgemm_source *source, int64_t taps, int64_t k,
                 int64_t columns, void *packed);

/* The same for one panel of one tap of bytes: fast enough to pack while a product runs.
 * `k_inner` is not used. */
void brgemm_s8_pack_panel(const brgemm_kernel *kernel, const brgemm_source *source, int64_t k,
                          int64_t columns, uint8_t *packed);

/* Asks for bytes that will be read some thousand cycles later. */
static inline void brgemm_prefetch(const void *from, int64_t bytes)
{
    const char *line = from;

    for (int64_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(line + i, 0, 2);
    }
}

#endif
