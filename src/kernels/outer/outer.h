/* Sums of outer products: what gradients of weights are made of.
 *
 *     C[i][j] = sum over runs r and steps s of A[r, s][i] * B[r, s][j]
 *
 * A and B are read where they lie: the numbers of a step are neighbours, steps are a pitch apart,
 * and a run is an offset in both. So dy (channels-last) times the pixels it saw needs no packing.
 * brgemm (kernels/brgemm) is the other way round: there the steps of A are neighbours.
 *
 * `group` steps of k are one step of a tile: 1 for f32; 2 for bf16, whose elements are pairs of
 * bf16, the even k in the lower half (bf16_kernel.pair). The order of additions for one result is
 * runs, then steps, ascending, so how work is cut into tiles never changes a bit. (BF16 may add a
 * pair in either order.) */
#ifndef KERNELS_OUTER_OUTER_H
#define KERNELS_OUTER_OUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/isa.h"

typedef enum outer_type { OUTER_F32, OUTER_BF16 } outer_type;

/* Bytes from the tile's `a` and `b`. */
typedef struct outer_run {
    int64_t a, b;
    int64_t steps;
} outer_run;

/* One tile: `rows` <= mr, `columns` <= nr. Elements have four bytes; pitches are in bytes. Nothing
 * beyond `rows` and `columns` is read or written. */
typedef struct outer_tile {
    const void *a;
    const void *b;
    int64_t a_pitch, b_pitch;
    const outer_run *runs;
    int64_t run_count;
    float *c;
    int64_t c_pitch; /* in floats */
    int rows;
    int columns;
    bool accumulate; /* the sums start from C */
} outer_tile;

/* A variant. */
typedef struct outer_kernel {
    const char *name; /* "outer_f32_14x32__avx512" */
    outer_type type;
    int mr;
    int nr;
    int group; /* k per step */
    void (*tile)(const outer_tile *t);
    bool (*present)(void); /* NULL: the variant's level says all */
} outer_kernel;

/* The lists that dispatch, tests and benchmarks share, one per type: lowest level first. `table`
 * points to an outer_kernel. */
typedef struct outer_variants {
    const isa_variant *list;
    int count;
} outer_variants;
outer_variants outer_variants_of(outer_type type);

/* True when the variant may run now. */
bool outer_usable(const isa_variant *variant);

/* The best variant that may run now. */
const outer_kernel *outer_select(outer_type type);

#endif
