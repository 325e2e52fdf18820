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

#endif
