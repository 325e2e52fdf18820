/* Products of bytes with weights whose scale changes along k too:
 *
 *     C[row][column] = bias[column] + sum over blocks h of factor[h][column] * S[h]
 *     S[h] = offset[h][column] + sum over k in h of A[row][k] * B[k][column]
 *
 * The inner sums are exact, in i32; each is scaled, rounded, and added in the order of the blocks,
 * by a product and a sum of their own: the same bits on every instruction set.
 *
 * B is packed as for brgemm (brgemm.h) by the variant's `layout`; a block is some of its steps. */
#ifndef KERNELS_BRGEMM_BLOCKS_S8_H
#define KERNELS_BRGEMM_BLOCKS_S8_H

#include "kernels/brgemm/brgemm.h"

/* One tile: `rows` <= mr, `columns` <= nr. */
typedef struct blocks_s8_tile {
    const uint8_t *a; /* rows at a_pitch; may be read up to 3 bytes beyond the last step */
    int64_t a_pitch;
    const uint8_t *b; /* packed panel */
    int64_t steps;    /* of four k, in all */
    int64_t block;    /* of them in a block; the last may be shorter */
    uint8_t flip;     /* 0x80 makes signed A unsigned */
    const int32_t *offsets;
    const float *factors;
    int64_t pitch;     /* of offsets and factors, from block to block */
    const float *bias; /* or NULL */
    float lower, upper;
    float *c;
    int64_t c_pitch; /* in floats */
    int rows, columns;
} blocks_s8_tile;

/* A variant. */
typedef struct blocks_s8_kernel {
    const char *name;
    int mr;
    const brgemm_kernel *layout; /* whose panels it reads; says nr */
    void (*tile)(const struct blocks_s8_kernel *kernel, const blocks_s8_tile *t);
} blocks_s8_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant blocks_s8_variants[];
extern const int blocks_s8_variant_count;

/* The variants that live in files of their own. */
extern const blocks_s8_kernel blocks_s8_6x32__avx512vnni;

/* The best variant that may run now. */
const blocks_s8_kernel *blocks_s8_select(void);

/* A product, or rows and columns of one: all is about row 0, column 0 of that part, whose first
 * column begins a panel. */
typedef struct blocks_s8_problem {
    int64_t m, n;
    blocks_s8_tile tile; /* rows, columns and what lies at them are set by the run */
} blocks_s8_problem;
void blocks_s8_run(const blocks_s8_kernel *kernel, const blocks_s8_problem *p);

#endif
