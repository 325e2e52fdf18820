/* Products that skip zeros: sums of rows of a dense operand, each times one number that is not
 * zero.
 *
 *     C[row][column] += sum over the kept numbers j of a row: value[j] * B[at[j]][column]
 *
 * The sparse operand is a list: for each number kept, its four bytes and where its row of B begins,
 * in bytes. So the same tile serves weights, listed when a plan is made (sparse_lists.h), and
 * activations, listed while a layer runs; and B may lie as a matrix, as packed panels or as pixels
 * of shifted images, since only `at` knows. A tile is one row wide, because rows have different
 * zeros, and as many columns long as fill the accumulators: each number kept costs a broadcast and
 * one multiply-add with an operand in memory per vector of columns, and no decision.
 *
 * The bitmaps of arXiv 2105.09564 are what is stored and joined (bitmap.h); its scattered sums are
 * not imitated: they cost a processor with vectors more than the products that they avoid.
 *
 * `group` is how many k one entry holds: 1 for f32, 2 bf16, 4 bytes; a group is kept when any of it
 * is not zero. Additions are in the order of the list. NaN and infinity count as numbers, so what
 * they meet is computed; but where a number is skipped, what it would have met is not looked at: 0
 * x infinity is 0 here. */
#ifndef KERNELS_SPARSE_SPARSE_H
#define KERNELS_SPARSE_SPARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/brgemm/brgemm.h"

enum {
    SPARSE_MOST_COLUMNS = 128, /* of a tile of any variant */
    SPARSE_LIST_SLACK = 16     /* entries behind a list that `list` may write */
};

/* A row of the sparse operand: the next `count` entries of the lists. */
typedef struct sparse_row {
    uint32_t row; /* of C */
    uint32_t count;
} sparse_row;

/* Rows by one block of B. */
typedef struct sparse_tile {
    const sparse_row *rows;
    int64_t row_count;
    const uint32_t *at; /* bytes from `b`: multiples of 4 */
    const void *value;  /* four bytes per entry */
    const void *b;      /* panels of `panel` columns, each at most that wide in memory */
    int64_t b_panel;    /* bytes from panel to panel */
    void *c;            /* f32; i32 for S8 */
    int64_t c_pitch;    /* bytes */
    int columns;        /* <= kernel->columns; whole vectors of B are read */
    bool accumulate;    /* the sums start from C */
} sparse_tile;

/* A variant. */
typedef struct sparse_kernel {
    const char *name; /* "sparse_f32_128__avx512" */
    brgemm_type type; /* S8: values are s8, B u8 */
    int columns;      /* of a tile */
    int panel;        /* columns that are neighbours in B */
    int group;        /* k per entry */
    int vector;       /* columns per register */
    void (*tile)(const sparse_tile *t);
    bool (*present)(void); /* NULL: the variant's level says all */
} sparse_kernel;

/* The lists that dispatch, tests and benchmarks share, one per type: lowest level first. `table`
 * points to a sparse_kernel. */
brgemm_variants sparse_variants_of(brgemm_type type);

/* True when the variant may run now. */
bool sparse_usable(const isa_variant *variant);

/* The best variant that may run now. */
const sparse_kernel *sparse_select(brgemm_type type);

/* Rows of the sparse operand and their entries. */
typedef struct sparse_block {
    const sparse_row *rows;
    int64_t row_count;
    const uint32_t *at;
    const void *value;
} sparse_block;

enum { SPARSE_KEEP_WORDS = 16, SPARSE_KEEP_BITS = 16 * SPARSE_KEEP_WORDS };

/* What a join keeps, and where it writes: rows, and as many entries as it was given and
 * SPARSE_LIST_SLACK more. */
typedef struct sparse_joined {
    const uint16_t *keep; /* SPARSE_KEEP_WORDS words: bit k % 16 of word k / 16 */
    int shift;            /* k = at >> shift */
    bool drops;           /* rows without entries */
    sparse_row *rows;
    uint32_t *at;
    float *value;
} sparse_joined;

/* Help for f32 rows at run time. */
typedef struct sparse_rows_kernel {
    const char *name; /* "sparse_rows_f32__avx512" */
    /* Lists the numbers of x[n] that are not zero: value and k * step. Returns how many entries
     * were written; SPARSE_LIST_SLACK more may have been. */
    int64_t (*list)(const float *x, int64_t n, uint32_t step, uint32_t *at, float *value);
    /* The entries of a block whose k is kept; every k is below SPARSE_KEEP_BITS. Returns how many
     * rows were written. */
    int64_t (*join)(const sparse_block *block, const sparse_joined *to);
    /* How many numbers of x[n] are not zero. */
    int64_t (*count)(const float *x, int64_t n);
    /* Finishes plain sums: `rows` rows of `columns` floats, `pitch` floats apart. The residual lies
     * `finish->residual_pitch` floats apart. `to` may be `from`. */
    void (*finish)(const float *from, int64_t from_pitch, float *to, int64_t to_pitch, int64_t rows,
                   int64_t columns, const brgemm_finish *finish);
} sparse_rows_kernel;

extern const isa_variant sparse_rows_variants[];
extern const int sparse_rows_variant_count;
const sparse_rows_kernel *sparse_rows_select(void);

#endif
