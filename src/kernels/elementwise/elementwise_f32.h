/* Elementary functions, norms and simple arithmetic over contiguous single-precision numbers.
 *
 * Every function reads n >= 0 floats per operand and writes n; nothing outside is touched. A result
 * may take the place of an operand (to == from), but may not overlap one otherwise. NaN gives NaN,
 * infinities give what the formula gives (gelu and swish: NaN at -infinity), results underflow
 * gradually and overflow to infinity.
 * Sums are taken in an order that depends on n alone (and on the variant).
 * How exact each elementary function is, in units of the last place over all floats, stands in
 * elementwise_f32_math.h: at most 2 for exp, expm1, log, tanh, erf, softplus;
 * 4 for the others, 4.5 for the portable gelu. */
#ifndef KERNELS_ELEMENTWISE_ELEMENTWISE_F32_H
#define KERNELS_ELEMENTWISE_ELEMENTWISE_F32_H

#include <stdint.h>

#include "kernels/isa.h"

typedef void elementwise_f32_map(float *to, const float *from, int64_t n);
typedef void elementwise_f32_map_1(float *to, const float *from, int64_t n, float a);
typedef void elementwise_f32_map_2(float *to, const float *from, int64_t n, float a, float b);
typedef void elementwise_f32_pair(float *to, const float *left, const float *right, int64_t n);
typedef double elementwise_f32_total(const float *from, int64_t n);

/* What a normalised row is scaled and moved by, and what is learnt about it. */
typedef struct elementwise_f32_norm {
    const float *gamma; /* [n], or NULL: ones */
    const float *beta;  /* [n], or NULL: zeros; not used by rms_norm */
    float epsilon;      /* added to the variance, or the mean square */
} elementwise_f32_norm;

typedef struct elementwise_f32_moments {
    float mean;      /* 0 from rms_norm */
    float inv_scale; /* 1 / sqrt(variance + epsilon), or 1 / sqrt(mean square + epsilon) */
} elementwise_f32_moments;

typedef elementwise_f32_moments elementwise_f32_normalise(float *to, const float *from, int64_t n,
                                                          const elementwise_f32_norm *norm);

/* A variant. */
typedef struct elementwise_f32_kernel {
    const char *name;
    elementwise_f32_map *exp, *expm1, *log, *tanh, *erf;
    elementwise_f32_map *sigmoid;  /* 1 / (1 + e^-x) */
    elementwise_f32_map *softplus; /* log(1 + e^x) */
    elementwise_f32_map *gelu;     /* x / 2 (1 + erf(x / sqrt(2))) */
    elementwise_f32_map *gelu_tanh;
    elementwise_f32_map_1 *swish; /* x / (1 + e^(-a x)) */
    elementwise_f32_map_1 *elu;   /* x < 0 ? a (e^x - 1) : x */
    elementwise_f32_map_2 *scale; /* a x + b: a channel of a batch norm */
    elementwise_f32_map_2 *clamp; /* to [a, b]; NaN stays */
    elementwise_f32_pair *add, *multiply, *subtract, *divide;
    elementwise_f32_map_1 *add_one, *multiply_one, *divide_one; /* x + a, x * a, x / a */
    elementwise_f32_pair *add_relu; /* max(left + right, 0); NaN stays */
    /* One row each. A NaN or positive infinity in the row makes every result NaN, and so do
     * negative infinities alone. */
    elementwise_f32_map *softmax, *log_softmax;
    /* Of one row: blocks of a few thousand in single precision, which meet in double. */
    elementwise_f32_total *sum;
    /* Two passes: mean, then the variance around it, both to the precision of a double between
     * blocks. n = 0 gives NaN moments. */
    elementwise_f32_normalise *layer_norm, *rms_norm;
} elementwise_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant elementwise_f32_variants[];
extern const int elementwise_f32_variant_count;

/* The best variant that may run now. */
const elementwise_f32_kernel *elementwise_f32_select(void);

#endif
