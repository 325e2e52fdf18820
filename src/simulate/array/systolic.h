/* A systolic array, element by element: every register of every processing element moves real
 * operands each cycle, so that the product comes out and the cycles are counted, not computed.
 *
 *   weights stay: element (i, j) holds a weight; activations enter row i from the left i cycles
 *     late and move right, sums move down. The weights of the next pass shift in from above, one
 *     row a cycle, into a second register, while the present ones are in use.
 *   outputs stay: row operands move right, column operands down, sums stay; then they move down
 *     and out.
 *
 * Products are summed in f32 in the order of the hardware: down the rows of a pass, then pass by
 * pass. systolic_cycles_* are the closed forms, which tests hold against the counted ones. */
#ifndef SIMULATE_ARRAY_SYSTOLIC_H
#define SIMULATE_ARRAY_SYSTOLIC_H

#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

enum { SYSTOLIC_SIDE_MOST = 1024 };

/* Rows along the reduction (weights stay) or of the result (outputs stay); columns of the
 * result. */
typedef struct systolic_shape {
    int rows, columns;
} systolic_shape;

/* One pass with weights that stay: sums[m][c] += a[m][k] w[k][c]. */
typedef struct systolic_pass {
    const float *a; /* of row m: a + m * a_pitch */
    const float *w; /* of step k: w + k * w_pitch */
    float *sums;    /* of row m: sums + m * sums_pitch */
    int64_t a_pitch, w_pitch, sums_pitch;
    int depth, width; /* k: 1 to rows, c: 1 to columns; unused elements hold zeros */
} systolic_pass;

/* `count` passes of `m` >= 1 rows each, back to back; *cycles from the first weight's entry to the
 * last sum's exit. Fails with SPRY_USAGE (a size out of range), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status systolic_run_weights(const spry_allocator *allocator,
                                               systolic_shape shape, const systolic_pass *passes,
                                               int64_t count, int64_t m, uint64_t *cycles,
                                               spry_error *error);

/* sums[rows][columns] = a[rows][k] b[k][columns], all dense: one fold with outputs that stay.
 * Fails with SPRY_USAGE, SPRY_LIMIT. */
SPRY_MUST_USE spry_status systolic_run_outputs(const spry_allocator *allocator,
                                               systolic_shape shape, const float *a, const float *b,
                                               int64_t k, float *sums, uint64_t *cycles,
                                               spry_error *error);

/* rows to fill the first weights; then a pass every max(m, rows) cycles; then the last one's
 * operands drain through both sides. */
uint64_t systolic_cycles_weights(systolic_shape shape, uint64_t passes, uint64_t m);
/* 2 rows + columns + k - 2 (SCALE-Sim's formula). */
uint64_t systolic_cycles_outputs(systolic_shape shape, uint64_t k);

#endif
