/* Matrices as bitmaps and the numbers that are not zero (arXiv 2105.09564, section 4).
 *
 * One level: bit c % 64 of word c / 64 of a row says whether column c is kept; values follow row by
 * row. Two levels: the matrix is cut into tiles; one bit per tile says whether it keeps anything,
 * and only such tiles have words and values of their own.
 *
 * Zeros of either sign are dropped and come back as +0; NaN and infinity are numbers. Elements are
 * 4 (f32), 2 (bf16, f16) or 1 byte (s8) wide. */
#ifndef KERNELS_SPARSE_BITMAP_H
#define KERNELS_SPARSE_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

/* A dense matrix; strides are in elements, so that a transposed one needs no copy. */
typedef struct bitmap_matrix {
    void *data;
    int64_t rows, columns;
    int64_t row_stride, column_stride;
    int element_bytes; /* 1, 2 or 4 */
} bitmap_matrix;

/* Words of a row of `columns`. */
static inline int64_t bitmap_words(int64_t columns)
{
    return (columns + 63) / 64;
}

/* How many elements are not zero: room for `values`. */
int64_t bitmap_count(const bitmap_matrix *m);

/* Writes rows x bitmap_words words and the values; returns how many values. */
int64_t bitmap_encode(const bitmap_matrix *m, uint64_t *bits, void *values);

/* Fills the matrix. False, and the matrix is not to be used, where the bits do not stand for
 * `count` values, or stand for columns that the matrix has not. */
bool bitmap_decode(const uint64_t *bits, const void *values, int64_t count, const bitmap_matrix *m);

enum { BITMAP_MOST_TILE_COLUMNS = 64 };

/* Two levels. Tiles are numbered row by row; a row of a tile is one word. */
typedef struct bitmap_tiles {
    int64_t rows, columns;
    int tile_rows, tile_columns; /* columns at most BITMAP_MOST_TILE_COLUMNS */
    int element_bytes;
    uint64_t *full;  /* bit per tile */
    uint64_t *bits;  /* [tiles that keep anything][tile_rows] */
    int64_t *offset; /* of their values, in elements */
    void *values;    /* tile by tile, row by row */
    int64_t kept;    /* tiles that keep anything */
    int64_t count;   /* values */
} bitmap_tiles;

/* Tiles in a row of tiles, and in all. */
int64_t bitmap_tiles_across(const bitmap_tiles *t);
int64_t bitmap_tiles_in_all(const bitmap_tiles *t);

/* Counts t->kept and t->count for sizes that are set: what the arrays need. */
void bitmap_tiles_measure(const bitmap_matrix *m, bitmap_tiles *t);

/* Fills the arrays of a measured one. */
void bitmap_tiles_encode(const bitmap_matrix *m, bitmap_tiles *t);

/* Fills the matrix, which has the sizes of `t`. False where t's counts, offsets and bits contradict
 * each other: nothing outside the arrays (kept and count long) is read. */
bool bitmap_tiles_decode(const bitmap_tiles *t, const bitmap_matrix *m);

/* Work of a product by outer products, as the paper's tensor core would do it. */
typedef struct bitmap_work {
    int64_t steps;       /* of 8 x 16 products, those of half-filled ones included */
    int64_t dense_steps; /* were nothing zero */
    int64_t multiplies;  /* of two numbers that are both kept */
} bitmap_work;

/* Steps for one column of A with `a` bits set and one row of B with `b`: ceil(a / 8) x ceil(b /
 * 16). */
static inline int64_t bitmap_steps(int a, int b)
{
    return (int64_t)((a + 7) / 8) * ((b + 15) / 16);
}

/* Counts for C = A x B by tiles of 32 x 32 x 16, where `a` is A transposed: both are K rows, in
 * tiles of 16 x 32. */
bitmap_work bitmap_product_work(const bitmap_tiles *a, const bitmap_tiles *b);

#endif
