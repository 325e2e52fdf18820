/* Products with few columns, such as pixels by the two filters that decide where a network looks:
 * every result is the dot product of a row and a column, which lie as they are. A tile of many
 * columns would multiply, and read, mostly zeros. */
#ifndef KERNELS_GEMM_FEW_F32_H
#define KERNELS_GEMM_FEW_F32_H

#include <stdint.h>

#include "kernels/isa.h"

enum { FEW_F32_COLUMNS = 4 };

/* c[row][column] = clamp(sum over k of a[row][k] * b[column][k] + bias[column]); all dense. NaN
 * passes through. */
typedef struct few_f32_product {
    const float *a; /* [rows][k] */
    const float *b; /* [columns][k] */
    int64_t rows, k;
    int columns;        /* 1 to FEW_F32_COLUMNS */
    const float *bias;  /* or NULL */
    float lower, upper; /* -INFINITY and INFINITY: no clamp */
    float *c;           /* [rows][columns] */
} few_f32_product;

/* A variant: each adds in an order of its own. */
typedef struct few_f32_kernel {
    const char *name;
    void (*multiply)(const few_f32_product *p);
} few_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant few_f32_variants[];
extern const int few_f32_variant_count;

/* The best variant that may run now. */
const few_f32_kernel *few_f32_select(void);

#endif
