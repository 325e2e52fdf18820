/* SQuant: data-free rounding of weights (arXiv 2202.07471).
 *
 * Rounding every weight to the nearest code leaves an error per kernel and per output channel that
 * adds up over pixels and channels. SQuant rounds some weights the other way, so that the errors of
 * each kernel (stage K) and of each output channel (stage C) sum to at most half a step, at the
 * least possible squared error. It needs neither data nor gradients.
 *
 * Where groups of inputs have steps of their own, a group of a product takes the place of the
 * kernel, and the sum of an output channel is one of real numbers: errors times steps. The same
 * holds when mean inputs are known: errors then count as they move the mean output, which is bias
 * correction by rounding. Flips are made, largest errors first, while such a sum falls. */
#ifndef QUANTIZE_SQUANT_H
#define QUANTIZE_SQUANT_H

#include "base/threads.h"
#include "quantize/grid.h"
#include "spry/allocator.h"
#include "spry/status.h"

/* Which sums are bounded: by flags. Stage E, rounding to the nearest, is always done. */
typedef enum squant_stages {
    SQUANT_E = 0,
    SQUANT_K = 1, /* of each kernel: |sum| <= 1/2 (<= 1 when stage C follows) */
    SQUANT_C = 2, /* of each output channel: |sum| <= 1/2 */
    SQUANT_EKC = SQUANT_K | SQUANT_C
} squant_stages;

/* What was done, summed over the channels of a tensor. Errors are in steps, those of channels with
 * several steps or mean inputs in their mean. */
typedef struct squant_report {
    int64_t kernel_flips, channel_flips;
    double kernel_error_before, kernel_error_after;   /* mean |sum| over kernels */
    double channel_error_before, channel_error_after; /* mean |sum| over output channels */
} squant_report;

/* A weight tensor, how it is cut into blocks of one step (as weight_record), and where its codes
 * go. */
typedef struct squant_tensor {
    const float *weights; /* [outputs][inputs][taps], finite */
    int64_t outputs, inputs, taps;
    int8_t *codes;                   /* [outputs][inputs][taps] */
    float *steps;                    /* [row blocks][column blocks] */
    int32_t *zeros;                  /* likewise */
    bool has_grid;                   /* steps and zeros are given */
    int64_t row_block, column_block; /* outputs and inputs of a block; 0: one output, all inputs */
    int64_t column_blocks;           /* 0: counted from column_block */
    const int32_t *row_map, *column_map; /* block of an output, of an input; or NULL */
    const float *means;                  /* [inputs]: of what the weights meet; NULL: all equal */
} squant_tensor;

/* Fills codes, steps and zero points. The result does not depend on the team or instruction set.
 * `report` may be NULL. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status squant_round(const squant_tensor *t, const grid_options *grid,
                                       squant_stages stages, const spry_allocator *allocator,
                                       threads *team, squant_report *report, spry_error *error);

#endif
