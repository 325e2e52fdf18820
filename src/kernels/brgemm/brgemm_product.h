/* Matrix products over tiles of brgemm: C[m][n] = finish(A[m][k] x B[k][n]), where B is packed
 * once.
 *
 *     brgemm_product_plan -> brgemm_pack (1 tap) -> brgemm_product_run (any number of times, from
 *     several threads on different pieces)
 *
 * A is f32 and is read where it lies. Blocks of it are copied only where they have to be: to become
 * bf16, to make k contiguous, or because rows at their pitch would fight for one set of the cache.
 * A block of A (row_block x step_block) stays in the second-level cache while panels of B pass by,
 * in the order in which they lie in memory. A product of so few rows that they are one tile reads B
 * once from end to end. */
#ifndef KERNELS_BRGEMM_BRGEMM_PRODUCT_H
#define KERNELS_BRGEMM_BRGEMM_PRODUCT_H

#include "kernels/brgemm/bf16.h"
#include "kernels/brgemm/brgemm.h"

/* What is to be computed; strides in floats, at least one of A's is 1. */
typedef struct brgemm_product_problem {
    int64_t m, n, k; /* each at least 1 */
    int64_t a_row, a_k;
    /* 0: B is packed. Otherwise B is held in some shorter form, of which so many steps of k belong
     * together; brgemm_product_call.unpack makes packed panels of it. */
    int64_t unpack_unit;
} brgemm_product_problem;

/* How: immutable, holds no memory. */
typedef struct brgemm_product {
    brgemm_product_problem problem;
    const brgemm_kernel *kernel; /* F32 or BF16 */
    const bf16_kernel *narrow;
    bool copies;          /* blocks of A */
    int64_t copy_pitch;   /* bytes from row to row of a copied block */
    int64_t steps;        /* groups of k */
    int64_t step_block;   /* of them per block of A */
    int64_t row_block;    /* rows per block of A */
    int64_t row_slice;    /* rows per piece of work */
    int64_t column_slice; /* columns per piece of work */
    int64_t pieces;       /* of work */
    int64_t packed_bytes; /* of B */
    int64_t panel_bytes;  /* of a panel's block that is unpacked to the workspace */
    int64_t worker_bytes; /* workspace per worker, 64-byte aligned */
} brgemm_product;

/* Plans for a team of `workers`. */
void brgemm_product_plan(const brgemm_product_problem *problem, const brgemm_kernel *kernel,
                         int workers, brgemm_product *p);

/* Steps [step, step + steps) of panel number `panel` of B, packed to `to`; `step` is a multiple of
 * the unit, and whole units may be written. */
typedef void brgemm_product_unpack(const void *context, int64_t panel, int64_t step, int64_t steps,
                                   void *to);

/* One run. */
typedef struct brgemm_product_call {
    const brgemm_product *p;
    const float *a;
    const void *packed;            /* or the context of `unpack` */
    brgemm_product_unpack *unpack; /* NULL: B is packed */
    float *c;                      /* [m][n] */
    brgemm_finish finish; /* pointers are those of row 0, column 0; the residual lies as C does, its
                             pitches are set by the run */
    void *workspace;      /* worker_bytes per worker, 64-byte aligned */
} brgemm_product_call;

/* Does pieces [begin, end) of the work with that worker's part of the workspace: a threads_body,
 * with the brgemm_product_call as context. */
void brgemm_product_run(void *call, int64_t begin, int64_t end, int worker);

#endif
