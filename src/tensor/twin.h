/* Twin quantisation: codes of b bits of which one names a range and the others a magnitude
 * (PTQ4ViT, arXiv 2111.12293).
 *
 *     top = 2^(b-1) - 1
 *     range 1:  v1 = sign * d1 * clamp(round_half_to_even(sign * x / d1), 0, top)
 *     range 2:  v2 =        d2 * clamp(round_half_to_even(       x / d2), 0, top)
 *     T(x) = v1 where |x - v1| <= |x - v2|, else v2
 *
 * TWIN_POSITIVE (sign 1) is for numbers in [0, 1] of which most are small, such as the results of a
 * Softmax: a fine and a coarse range from zero. TWIN_SIGNED (sign -1) is for the results of Gelu
 * and its like: negatives, which are short, and positives. Everything is computed in f32, in this
 * order, so that a graph of standard operators gives the same bits. NaN gives 0;
 * numbers so large that f32 does not tell x - v1 from x - v2 give v1. */
#ifndef TENSOR_TWIN_H
#define TENSOR_TWIN_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { TWIN_LEAST_BITS = 2, TWIN_MOST_BITS = 8 };

typedef enum twin_kind { TWIN_POSITIVE = 0, TWIN_SIGNED = 1 } twin_kind;

typedef struct twin_grid {
    twin_kind kind;
    int bits;
    float d1, d2; /* steps, above 0 and finite */
} twin_grid;

/* What depends on the grid alone. */
typedef struct twin_terms {
    float sign, d1, d2;
    float high1, high2; /* ends of the ranges */
} twin_terms;

/* Codes of a number: the magnitude in the range that it is in, 0 in the other. */
typedef struct twin_code {
    int32_t first, second;
} twin_code;

static inline int32_t twin_top(int bits)
{
    return (1 << (bits - 1)) - 1;
}

static inline twin_terms twin_terms_of(twin_grid grid)
{
    float top = (float)twin_top(grid.bits);

    return (twin_terms){grid.kind == TWIN_SIGNED ? -1.0f : 1.0f, grid.d1, grid.d2, top * grid.d1,
                        top * grid.d2};
}

/* Written so that NaN becomes 0. */
static inline float twin_magnitude(float x, float high, float step)
{
    float low = x > 0.0f ? x : 0.0f;

    return rintf((low < high ? low : high) / step);
}

static inline twin_code twin_encode(float x, twin_terms t)
{
    float m1 = twin_magnitude(t.sign * x, t.high1, t.d1);
    float m2 = twin_magnitude(x, t.high2, t.d2);
    bool first = fabsf(x - t.sign * (m1 * t.d1)) <= fabsf(x - m2 * t.d2);

    return (twin_code){first ? (int32_t)m1 : 0, first ? 0 : (int32_t)m2};
}

static inline float twin_round(float x, twin_terms t)
{
    float v1 = t.sign * (twin_magnitude(t.sign * x, t.high1, t.d1) * t.d1);
    float v2 = twin_magnitude(x, t.high2, t.d2) * t.d2;

    return fabsf(x - v1) <= fabsf(x - v2) ? v1 : v2;
}

#endif
