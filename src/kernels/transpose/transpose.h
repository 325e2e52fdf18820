/* Transposition of a matrix of words or bytes: rows become columns.
 *
 *     to[column][row] = from[row][column]
 *
 * Works through square tiles that fit the registers, so that every cache line is read and written
 * whole. */
#ifndef KERNELS_TRANSPOSE_TRANSPOSE_H
#define KERNELS_TRANSPOSE_TRANSPOSE_H

#include <stdint.h>

#include "kernels/isa.h"

/* The two matrices do not overlap. Elements of a row are adjacent. */
typedef struct transpose_matrix {
    const void *from;
    void *to;
    int64_t rows; /* of `from` */
    int64_t columns;
    int64_t from_pitch; /* bytes from row to row */
    int64_t to_pitch;
} transpose_matrix;

typedef void transpose_run(const transpose_matrix *m);

/* A variant. */
typedef struct transpose_kernel {
    const char *name;
    transpose_run *words; /* elements of 4 bytes */
    transpose_run *bytes;
} transpose_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant transpose_variants[];
extern const int transpose_variant_count;

/* The best variant that may run now. */
const transpose_kernel *transpose_select(void);

#endif
