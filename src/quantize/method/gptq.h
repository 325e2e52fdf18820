/* GPTQ: rounding one weight after the other, and moving the error to those that follow (arXiv
 * 2210.17323).
 *
 *     H = X X^T + 0.01 mean(diag) I        U upper, H^-1 = U^T U
 *     for each column j in order:
 *         q = nearest(w_j)       e = (w_j - q) / U_jj       w_k -= e U_jk for all k > j
 *
 * The order is that of falling H_jj, so that the inputs that count most are rounded while there is
 * most left to correct them; steps are those of the weights as given ("static groups"), so the
 * order leaves no trace in the result. */
#ifndef QUANTIZE_GPTQ_H
#define QUANTIZE_GPTQ_H

#include "base/threads.h"
#include "quantize/grid.h"
#include "spry/allocator.h"
#include "spry/status.h"

/* Rows of weights that see the same inputs. */
typedef struct gptq_layer {
    int64_t rows, size;
    const float *weights; /* [rows][size] */
    const double *gram;   /* [size][size] */
    grid_codes limits;
    const int32_t *block_of; /* [size]: whose step an element has */
    int64_t blocks;
    const float *steps;   /* [rows][blocks] */
    const int32_t *zeros; /* [rows][blocks] */
    bool in_order;        /* as they stand, not by falling H_jj */
    int8_t *codes;        /* [rows][size]: the nearest ones; they become better */
} gptq_layer;

/* Changes the codes of rows whose |W X - W' X|^2 falls by it: no row gets worse. A Gram matrix that
 * has no such factors changes nothing. The result does not depend on the team. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status gptq_round(const gptq_layer *l, const spry_allocator *allocator,
                                     threads *team, spry_error *error);

#endif
