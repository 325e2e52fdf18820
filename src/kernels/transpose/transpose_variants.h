/* The transposition variants that live in files of their own, and what they share. */
#ifndef KERNELS_TRANSPOSE_TRANSPOSE_VARIANTS_H
#define KERNELS_TRANSPOSE_TRANSPOSE_VARIANTS_H

#include "kernels/transpose/transpose.h"

extern const transpose_kernel transpose__avx2;
extern const transpose_kernel transpose__avx512;

/* Element by element: what is left at the edges. */
transpose_run transpose_words_singly;
transpose_run transpose_bytes_singly;

/* The part that starts at that row and column, of `size` bytes per element. */
static inline transpose_matrix transpose_part(const transpose_matrix *m, int64_t size, int64_t row,
                                              int64_t rows, int64_t column, int64_t columns)
{
    return (transpose_matrix){.from = (const char *)m->from + row * m->from_pitch + column * size,
                              .to = (char *)m->to + column * m->to_pitch + row * size,
                              .rows = rows,
                              .columns = columns,
                              .from_pitch = m->from_pitch,
                              .to_pitch = m->to_pitch};
}

#endif
