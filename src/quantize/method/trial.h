/* Trying steps on one layer: its operands on a grid, multiplied in integers, and how far that is
 * from the float product. Integers times steps are exactly what the quantised model computes. */
#ifndef QUANTIZE_TRIAL_H
#define QUANTIZE_TRIAL_H

#include "base/arena.h"
#include "base/threads.h"
#include "kernels/brgemm/brgemm.h"
#include "kernels/quantize/tile_error.h"
#include "quantize/calibrate/capture.h"

/* The grid of the first operand, of one unit: a head, or everything. */
typedef struct trial_grid {
    float step;
    int32_t zero;
    spry_dtype dtype;
    bool is_twin;
    twin_grid twin;
} trial_grid;

typedef struct trial {
    threads *team;
    fisher_metric metric;
    int bits;                   /* of the first operand */
    int64_t groups, rows, k, n; /* as captured */
    int64_t heads;              /* of two activations: units of the second operand */
    int64_t a_units;            /* heads, or 1 */
    int64_t units;              /* whose error is told apart: of weights, or heads */
    const int32_t *unit_of;     /* [n]: unit of a column; NULL: two activations */
    grid_codes b_codes;
    float *a;          /* [groups][rows][k] */
    float *b;          /* weights [n][k], or [groups][k][n] */
    float *importance; /* [groups][rows][n]; NULL: all alike */
    float *exact;      /* the float product */
    /* Integers. */
    const brgemm_kernel *kernel;
    const tile_error_kernel *distance;
    int64_t pitch;      /* of rows of codes */
    uint8_t *planes[2]; /* [groups][rows][pitch] */
    uint8_t *codes;     /* of `b`, in its own order */
    uint8_t *packed;    /* [groups] */
    int64_t packed_size;
    int32_t *sums;       /* [groups][n]: of columns of codes */
    float *b_steps;      /* [groups][n] */
    trial_grid *a_grids; /* [a_units] */
    double *pieces;      /* errors of pieces of work */
    int64_t piece_count;
} trial;

/* Room in `memory` for a layer whose sizes, metric, codes and units are set; `a`, `b` and
 * `importance` are to be filled, then trial_begin makes the float product.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status trial_create(trial *t, arena *memory, spry_error *error);
SPRY_MUST_USE spry_status trial_begin(trial *t, arena *memory, spry_error *error);

/* Puts the first operand on the grids of its units. */
void trial_set_a(trial *t, const trial_grid *grids);
/* Puts weights on a step per column, steps[n]; second activations on one per head, steps[heads]. */
void trial_set_b(trial *t, const float *steps);
/* The error of each unit, a mean over the samples' elements (rows for cosine). Does not depend on
 * the team. */
void trial_measure(trial *t, double *errors);

#endif
