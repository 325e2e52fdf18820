/* Orders of channels in which blocks hold weights of similar size, so that a common step fits them
 * (PTQ-SL, arXiv 2110.07809; objectives and search are Spry's own). */
#ifndef QUANTIZE_REORDER_H
#define QUANTIZE_REORDER_H

#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef enum reorder_effort {
    REORDER_SORT,  /* the best of: as they are, sorted by size, sorted within two clusters */
    REORDER_SEARCH /* then an evolutionary search, then swaps as long as they help */
} reorder_effort;

/* What is made small: the sum over blocks of their weights times */
typedef enum reorder_objective {
    REORDER_RANGE, /* step^2 / 12, with the step that reaches the block's largest weight */
    REORDER_MSE    /* the least mean squared error of 20 steps: some 50 times the work */
} reorder_objective;

/* A weight tensor [outputs][inputs][taps], and how it will be cut. */
typedef struct reorder_weights {
    const float *dense;
    int64_t outputs, inputs, taps;
    int64_t row_block, column_block; /* 1 to outputs, inputs */
    int bits;
} reorder_weights;

typedef struct reorder_options {
    reorder_effort effort;
    reorder_objective objective;
    uint64_t seed;
} reorder_options;

/* Values of the objective. */
typedef struct reorder_report {
    double identity, sorted, searched;
} reorder_report;

/* Fills output_order[outputs] and input_order[inputs]: order[place] is the channel that comes
 * there. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status reorder_channels(const reorder_weights *w, const reorder_options *options,
                                           const spry_allocator *allocator, int32_t *output_order,
                                           int32_t *input_order, reorder_report *report,
                                           spry_error *error);

/* The objective of given orders. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status reorder_price(const reorder_weights *w, reorder_objective objective,
                                        const int32_t *output_order, const int32_t *input_order,
                                        const spry_allocator *allocator, double *price,
                                        spry_error *error);

#endif
