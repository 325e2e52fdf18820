/* The one rounding rule of quantised arithmetic, for operators and integer kernels alike:
 *
 *     q = saturate(round_half_to_even(x / scale) + zero)        in f32
 *     x = (q - zero) * scale                                    in f32
 *
 * Adding the zero point never rounds, so saturation is the same before and after it. NaN gives the
 * zero point. Requantising an accumulator multiplies by one f32 factor instead of dividing. */
#ifndef TENSOR_QUANTIZE_H
#define TENSOR_QUANTIZE_H

#include <math.h>
#include <stdint.h>

#include "tensor/dtype.h"

/* Limits of the quantised type, and its zero point. */
typedef struct quantize_target {
    int32_t low, high;
    int32_t zero;
} quantize_target;

/* `dtype`: an integer type of at most 16 bits. */
static inline quantize_target quantize_target_of(spry_dtype dtype, int32_t zero)
{
    return (quantize_target){(int32_t)dtype_integer_min(dtype), (int32_t)dtype_integer_max(dtype),
                             zero};
}

/* A real number already divided by the scale. */
static inline int32_t quantize_scaled(float x, quantize_target t)
{
    float low = (float)(t.low - t.zero);
    float high = (float)(t.high - t.zero);
    float rounded = rintf(x);

    rounded = rounded < low ? low : rounded;
    rounded = rounded > high ? high : rounded;
    return (rounded == rounded ? (int32_t)rounded : 0) + t.zero;
}

static inline int32_t quantize_f32(float x, float scale, quantize_target t)
{
    return quantize_scaled(x / scale, t);
}

/* An integer accumulator to the output's type; `multiplier` is (scale a * scale b) / output scale,
 * computed in f32 in that order. */
static inline int32_t quantize_accumulator(int32_t sum, float multiplier, quantize_target t)
{
    return quantize_scaled((float)sum * multiplier, t);
}

static inline float quantize_back(int32_t q, float scale, int32_t zero)
{
    return (float)(q - zero) * scale;
}

#endif
