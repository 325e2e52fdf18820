/* Weights as the lists that sparse tiles read: made once, immutable.
 *
 * The matrix [rows][k] is cut into blocks of rows, whose sums fit the second-level cache, and of k,
 * whose numbers of the dense operand fit the first. Within a block the rows with as many entries
 * follow one another: a processor guesses well how long they are. In blocks of k after the first,
 * rows without entries are left out. */
#ifndef KERNELS_SPARSE_SPARSE_LISTS_H
#define KERNELS_SPARSE_SPARSE_LISTS_H

#include "kernels/sparse/sparse.h"

/* Weights in memory: element (row, k) at row * row_stride + k * k_stride, f32 for F32 and BF16
 * kernels, s8 for S8. */
typedef struct sparse_source {
    const void *data;
    int64_t rows, k;
    int64_t row_stride, k_stride;
} sparse_source;

/* What is kept of a matrix. */
typedef struct sparse_facts {
    int64_t entries;  /* groups of k with a number */
    int64_t numbers;  /* that are not zero */
    int64_t infinite; /* infinities and NaNs */
} sparse_facts;

/* `inner` elements of k, neighbours, share k / inner: groups are made of the outer ones, so that
 * the channels of one position of a convolution's kernel are a group. 1 for matrices. */
sparse_facts sparse_facts_of(const sparse_source *source, int group, brgemm_type type,
                             int64_t inner);

/* Sizes. */
typedef struct sparse_lists {
    brgemm_type type;
    int group;
    int64_t rows, k, inner;
    int64_t row_block;
    int64_t k_block; /* a multiple of group * inner */
    int64_t row_blocks, k_blocks;
    int64_t entries;
    int64_t bytes; /* of memory for all */
} sparse_lists;

/* Sets the sizes that follow from type, group, rows, k, inner, the two block sizes and entries. */
void sparse_lists_plan(sparse_lists *l);

/* Fills `memory`, l->bytes long and aligned to 64 bytes. at[i] are the bytes from the beginning of
 * a block of the dense operand to what entry i of a block of k meets: there are k_block / group. */
void sparse_lists_pack(const sparse_lists *l, const sparse_source *source, const uint32_t *at,
                       void *memory);

/* One block. */
sparse_block sparse_lists_block(const sparse_lists *l, const void *memory, int64_t row_block,
                                int64_t k_block);

#endif
