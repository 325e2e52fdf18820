/* SQuant: data-free rounding of weights (arXiv 2202.07471).
 *
 * Rounding every weight to the nearest code leaves an error per kernel and per output channel that
 * adds up over pixels and channels. SQuant rounds some weights the other way, so that the errors of
 * each kernel (stage K) and of each output channel (stage C) sum to at most half a step, at the
 * least possible squared error. It needs neither data nor gradients. */
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

/* What was done, summed over the channels of a tensor. Errors are in steps. */
typedef struct squant_report {
    int64_t kernel_flips, channel_flips;
    double kernel_error_before, kernel_error_after;   /* mean |sum| over kernels */
    double channel_error_before, channel_error_after; /* mean |sum| over output channels */
} squant_report;

/* A weight tensor and where its codes go. */
typedef struct squant_tensor {
    const float *weights; /* [outputs][inputs][taps], finite */
    int64_t outputs, inputs, taps;
    int8_t *codes;  /* [outputs][inputs][taps] */
    float *steps;   /* [outputs] */
    int32_t *zeros; /* [outputs] */
} squant_tensor;

/* Fills codes, steps and zero points. The result does not depend on the team or instruction set.
 * `report` may be NULL. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status squant_round(const squant_tensor *t, const grid_options *grid,
                                       squant_stages stages, const spry_allocator *allocator,
                                       threads *team, squant_report *report, spry_error *error);

/* One channel of `inputs` kernels x `taps` whose positions on the grid are given: the heart of
 * squant_round. `scratch` has room for inputs x taps entries. */
typedef struct squant_entry {
    uint64_t key; /* larger: flipped earlier */
    int32_t index;
    int32_t step; /* +1 or -1 */
} squant_entry;

typedef struct squant_channel {
    const float *positions;
    int64_t inputs, taps;
    grid_codes limits;
    int8_t *codes;
} squant_channel;
void squant_flip_channel(const squant_channel *c, squant_stages stages, squant_entry *scratch,
                         int64_t *kernel_flips, int64_t *channel_flips);

#endif
