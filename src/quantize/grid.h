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
#include "tensor/twin.h"

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

/* Step and zero point for weights in [low, high]. Both 0: step 1. The step is computed in double
 * and rounded once. */
void grid_of_bounds(float low, float high, const grid_options *options, float *step, int32_t *zero);

/* The grid of a whole tensor: value = (code - zero) * step. Codes of fewer than 8 bits lie in bytes
 * as well: [-2^(bits-1), 2^(bits-1) - 1] in I8, [0, 2^bits - 1] in U8. */
typedef struct tensor_grid {
    float step; /* 0 where there is no single one: with `steps` and `twin` */
    int32_t zero;
    spry_dtype dtype;   /* I8 or U8 */
    int bits;           /* 0: 8 */
    const float *steps; /* [step_count]: a step per slice along `axis`, zero point 0; or NULL */
    int64_t step_count;
    int axis;
    const twin_grid *twin; /* instead of all that: two ranges; or NULL */
} tensor_grid;

grid_codes tensor_grid_codes(const tensor_grid *grid);

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
