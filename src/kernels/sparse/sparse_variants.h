/* The variants of sparse that live in files of their own, and what their vectors share. */
#ifndef KERNELS_SPARSE_SPARSE_VARIANTS_H
#define KERNELS_SPARSE_SPARSE_VARIANTS_H

#include "kernels/sparse/sparse.h"

#define SPARSE_INLINE static inline __attribute__((always_inline))

extern const sparse_kernel sparse_f32_64__avx2;
extern const sparse_kernel sparse_f32_128__avx512;
extern const sparse_kernel sparse_bf16_128__avx512bf16;
extern const sparse_kernel sparse_s8_128__avx512vnni;

extern const sparse_rows_kernel sparse_rows_f32__avx2;
extern const sparse_rows_kernel sparse_rows_f32__avx512;

/* One by one: where the instruction set has no compression. */
SPARSE_INLINE int64_t sparse_list_singly(const float *x, int64_t n, uint32_t step, uint32_t *at,
                                         float *value)
{
    int64_t count = 0;

    for (int64_t k = 0; k < n; k++) { /* written in any case: a branch would be guessed wrong */
        value[count] = x[k];
        at[count] = (uint32_t)k * step;
        count += x[k] != 0.0f;
    }
    return count;
}
int64_t sparse_join_singly(const sparse_block *block, const sparse_joined *to);

#endif
