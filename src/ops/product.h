/* Batches of matrix products, the part that MatMul, Gemm, recurrent cells and attention share.
 *
 *     c[b][i][j] = sum over k of a[a_offset[b] + i * a_row + k * a_k]
 *                               * b[b_offset[b] + k * b_k + j * b_column]
 *
 * The sums run over ascending k whatever the number of threads. f32 goes through the packed kernel
 * (kernels/gemm), f64 and i64 through plain loops; integers wrap around. */
#ifndef OPS_PRODUCT_H
#define OPS_PRODUCT_H

#include "ops/op.h"

typedef struct product {
    int64_t batch, m, n, k;
    const void *a, *b;                  /* float, double or int64_t */
    const int64_t *a_offset, *b_offset; /* [batch]; NULL: 0 */
    int64_t a_row, a_k, b_k, b_column;  /* strides in elements */
    void *c;                            /* dense [batch][m][n] */
} product;

/* All of it, by the call's team. Fail with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status product_f32(op_call *call, const product *p);
SPRY_MUST_USE spry_status product_f64(op_call *call, const product *p);
SPRY_MUST_USE spry_status product_i64(op_call *call, const product *p);

#endif
