/* What a convolution at some of its pixels costs on this machine: the numbers that a model of
 * latency is fitted to. */
#ifndef MEASURE_LISTED_H
#define MEASURE_LISTED_H

#include "kernels/conv/conv_nhwc.h"
#include "spry/allocator.h"
#include "spry/status.h"

typedef struct listed_cost {
    int64_t pixels; /* that were computed: all images */
    double milliseconds;
} listed_cost;

/* Times a layer, `problem` without a planar input, on one thread: patches of `patch` x `patch`
 * results, about `density` of them, chosen at random from `seed`; the mask is turned into tiles in
 * the time that is taken, and the kernel is the one that masked blocks would run it by. The least
 * of `repeats` >= 1 runs counts: others were disturbed. Weights and images are random; bytes become
 * sums. Fails with SPRY_USAGE (patch < 1, a density outside [0, 1]), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status listed_measure(const spry_allocator *allocator,
                                         const conv_nhwc_problem *problem, int64_t patch,
                                         double density, uint64_t seed, int repeats,
                                         listed_cost *cost, spry_error *error);

#endif
