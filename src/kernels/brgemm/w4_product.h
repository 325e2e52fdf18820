/* Products of rows of f32 with packed weights of four bits (w4.h), of any number of rows: a few are
 * multiplied by the codes, more of them by panels of weights that are unpacked on the way.
 *
 *     w4_product_plan -> w4_pack -> w4_product_prepare, then w4_product_run from several threads on
 *     different pieces (any number of times) */
#ifndef KERNELS_BRGEMM_W4_PRODUCT_H
#define KERNELS_BRGEMM_W4_PRODUCT_H

#include "kernels/brgemm/brgemm_product.h"
#include "kernels/brgemm/w4.h"

/* What is to be computed: C[m][n] = A[m][k] x W[k][n] + bias[n]. */
typedef struct w4_problem {
    int64_t m, n, k; /* each at least 1 */
    int group;
    bool has_zeros;
} w4_problem;

/* How: immutable, holds no memory. */
typedef struct w4_product {
    w4_problem problem;
    const w4_kernel *kernel;
    int64_t groups;
    bool unpacks;
    brgemm_product product; /* of unpacked weights */
    int64_t panel_slice;    /* panels per piece of work when codes are multiplied */
    int64_t pieces;         /* of work */
    int64_t packed_bytes;
    int64_t shared_bytes; /* workspace for all, then worker_bytes per worker; both of whole lines */
    int64_t worker_bytes;
} w4_product;

/* Plans for a team of `workers`. */
void w4_product_plan(const w4_problem *problem, const w4_kernel *kernel, int workers,
                     w4_product *p);

/* One run. */
typedef struct w4_product_call {
    const w4_product *p;
    const float *a; /* [m][k] */
    const void *packed;
    const float *bias; /* or NULL */
    float *c;          /* [m][n] */
    void *workspace;   /* 64-byte aligned */
} w4_product_call;

/* Before the pieces: rows are padded to whole groups and summed by group. */
void w4_product_prepare(const w4_product_call *call);

/* Does pieces [begin, end) of the work with that worker's part of the workspace: a threads_body,
 * with the w4_product_call as context. */
void w4_product_run(void *call, int64_t begin, int64_t end, int worker);

#endif
