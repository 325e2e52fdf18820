/* A whole convolution on the array, element by element: the passes of lowering.h with real
 * operands, so that the closed form can be held against counted cycles and the result against the
 * convolution. For small layers; a large one takes as many steps as it has elements and cycles. */
#ifndef SIMULATE_ARRAY_LOWERING_COMPUTE_H
#define SIMULATE_ARRAY_LOWERING_COMPUTE_H

#include "simulate/array/lowering.h"

/* x: [images][in_height][in_width][channels], padding included; w: [kernel_height][kernel_width]
 * [channels / groups][filters]; y: [pixels][filters], set. One array. Channel last computes as
 * channel first does. Fails with SPRY_USAGE, SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status lowering_compute(const spry_allocator *allocator, systolic_shape shape,
                                           const simulate_layer *l, lowering_way way,
                                           lowering_multi multi, const float *x, const float *w,
                                           float *y, uint64_t *cycles, spry_error *error);

#endif
