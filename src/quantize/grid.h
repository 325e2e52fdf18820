/* Grids of quantised weights: which real numbers the codes of a channel stand for.
 *
 *     value = (code - zero) * step          code in [low, high]
 *
 * A weight tensor is seen as [outputs][inputs][taps], dense: taps are the positions of a
 * convolution kernel, 1 for products. Each output channel has its own step and zero point. */
#ifndef QUANTIZE_GRID_H
#define QUANTIZE_GRID_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/tensor.h"

enum { GRID_LEAST_BITS = 2, GRID_MOST_BITS = 8 };

typedef struct grid_options {
    int bits;         /* GRID_LEAST_BITS to GRID_MOST_BITS */
    bool symmetric;   /* zero point 0; the codes are [-(2^(bits-1) - 1), 2^(bits-1) - 1] */
    bool exact_range; /* affine: do not widen the range to include 0. The zero point may then lie
                         outside the codes, which ONNX cannot express. */
} grid_options;

/* Signed codes. */
typedef struct grid_codes {
    int32_t low, high;
} grid_codes;

grid_codes grid_codes_of(const grid_options *options);

/* Step and zero point for weights in [low, high]. Both 0: step 1. The step is computed in double and
 * rounded once. */
void grid_of_bounds(float low, float high, const grid_options *options, float *step, int32_t *zero);

/* The grid of a whole tensor: value = (code - zero) * step. */
typedef struct tensor_grid {
    float step;
    int32_t zero;
    spry_dtype dtype; /* I8 or U8 */
} tensor_grid;

/* Where a weight lies between the codes. */
static inline float grid_position(float x, float step, int32_t zero)
{
    return x / step + (float)zero;
}

static inline float grid_value(int32_t code, float step, int32_t zero)
{
    return (float)(code - zero) * step;
}

#endif
