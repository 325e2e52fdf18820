/* Elementary functions on a vector of floats.
 *
 * Each comes with its largest error in units of the last place of the exact result, over every
 * float. NaN gives NaN, infinities give what the formula gives (gelu and swish: NaN at -infinity),
 * results underflow gradually and overflow to infinity. Coefficients: tools/vecmath/derive.py.
 *
 * Every function has the form f(x, a, b) so that the loops of elementwise_f32_body.h take any. */
#ifndef KERNELS_ELEMENTWISE_ELEMENTWISE_F32_MATH_H
#define KERNELS_ELEMENTWISE_ELEMENTWISE_F32_MATH_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "kernels/elementwise/elementwise_f32_vector.h"

/* ln 2 in two parts; the first has 15 bits, so that its product with an exponent is exact. */
#define VEC_LN2_HIGH 0.693145751953125f
#define VEC_LN2_LOW 1.42860677e-6f
/* x + 1.5 * 2^23 - 1.5 * 2^23 is x rounded to a whole number. */
#define VEC_ROUNDER 12582912.0f

/* coefficients[0] + coefficients[1] x + ... */
VEC_INLINE vec_f32 vec_polynomial(vec_f32 x, const float *coefficients, int count)
{
    vec_f32 sum = vec_set(coefficients[count - 1]);

#pragma GCC unroll 12
    for (int i = count - 2; i >= 0; i--) {
        sum = vec_fma(sum, x, vec_set(coefficients[i]));
    }
    return sum;
}

/* A number (1 + fraction) * 2^exponent with |fraction| < 0.42; the exponent is whole. */
typedef struct vec_exponential {
    vec_f32 fraction;
    vec_f32 exponent;
} vec_exponential;

/* e^(x + rest) for |x| <= 300 and a rest that is small beside the last place of 1. */
VEC_INLINE vec_exponential vec_exp_parts(vec_f32 x, vec_f32 rest)
{
    static const float c[] = {0.49999997f, 0.16666545f, 0.0416674651f, 0.00836642366f,
                              0.00138683163f};
    vec_f32 n = vec_fma(x, vec_set(1.44269504f), vec_set(VEC_ROUNDER)) - VEC_ROUNDER;
    vec_f32 r = vec_fma(n, vec_set(-VEC_LN2_HIGH), x);

    r = vec_fma(n, vec_set(-VEC_LN2_LOW), r) + rest;
    return (vec_exponential){vec_fma(r * r, vec_polynomial(r, c, 5), r), n};
}

/* e^x: at most 1.1 units. */
VEC_INLINE vec_f32 vec_exp(vec_f32 x, vec_f32 a, vec_f32 b)
{
    vec_exponential e =
        vec_exp_parts(vec_min(vec_max(x, vec_set(-104.0f)), vec_set(89.0f)), vec_set(0.0f));

    (void)a;
    (void)b;
    return vec_scale(e.fraction + 1.0f, e.exponent);
}

/* e^x - 1: at most 2 units. */
VEC_INLINE vec_f32 vec_expm1(vec_f32 x, vec_f32 a, vec_f32 b)
{
    vec_exponential e =
        vec_exp_parts(vec_min(vec_max(x, vec_set(-20.0f)), vec_set(89.0f)), vec_set(0.0f));
    /* Half of the power: 2^128 is no float. */
    vec_f32 half = vec_scale(vec_set(0.5f), e.exponent);
    vec_f32 sum = 2.0f * (vec_fma(half, e.fraction, half - 0.5f));

    (void)a;
    (void)b;
    /* The sign is that of x, also of its zeros. */
    return vec_select(e.exponent == 0.0f, vec_with_sign(e.fraction, x), sum);
}

/* x < 0 ? a (e^x - 1) : x */
VEC_INLINE vec_f32 vec_elu(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return vec_select(x < 0.0f, a * vec_expm1(x, a, b), x);
}

/* log(1 + f) + k log 2 for f in [sqrt(1/2) - 1, sqrt(2) - 1]. */
VEC_INLINE vec_f32 vec_log_parts(vec_f32 f, vec_f32 k)
{
    static const float c[] = {0.333333313f, -0.250008196f, 0.200012416f, -0.166234091f,
                              0.142015815f, -0.131596133f, 0.127621979f, -0.076363951f};
    vec_f32 square = f * f;
    vec_f32 tail = vec_fma(f * square, vec_polynomial(f, c, 8), k * VEC_LN2_LOW);
    vec_f32 bend = vec_fma(square, vec_set(0.5f), -tail);

    return vec_fma(k, vec_set(VEC_LN2_HIGH), f - bend);
}

/* The natural logarithm: at most 0.9 units; -infinity at both zeros, NaN below. */
VEC_INLINE vec_f32 vec_log(vec_f32 x, vec_f32 a, vec_f32 b)
{
    const vec_u32 root = (vec_u32)vec_set(0.70710678f);
    vec_i32 small = x < FLT_MIN;
    vec_u32 bits = (vec_u32)vec_select(small, x * 16777216.0f, x) - root;
    vec_i32 k = ((vec_i32)bits >> 23) - (small & 24);
    vec_f32 f = (vec_f32)((bits & 0x7FFFFFu) + root) - 1.0f;
    vec_f32 result = vec_log_parts(f, __builtin_convertvector(k, vec_f32));
    vec_f32 other = vec_select(x < 0.0f, vec_set(NAN), x);

    (void)a;
    (void)b;
    other = vec_select(x == 0.0f, vec_set(-INFINITY), other);
    return vec_select((x > 0.0f) & (x < INFINITY), result, other);
}

/* log(1 + e^x): at most 2 units. */
VEC_INLINE vec_f32 vec_softplus(vec_f32 x, vec_f32 a, vec_f32 b)
{
    vec_f32 e = vec_exp(-vec_abs(x), a, b);
    vec_i32 is_large = e > 0.414f;
    vec_f32 f = vec_select(is_large, (e - 1.0f) * 0.5f, e);
    vec_f32 k = vec_select(is_large, vec_set(1.0f), vec_set(0.0f));

    return vec_max(x, vec_set(0.0f)) + vec_log_parts(f, k);
}

/* The hyperbolic tangent: at most 2 units. */
VEC_INLINE vec_f32 vec_tanh(vec_f32 x, vec_f32 a, vec_f32 b)
{
    static const float c[] = {-0.333332837f, 0.133314833f, -0.0537427738f, 0.0206480622f,
                              -0.00571406353f};
    vec_f32 size = vec_abs(x);
    vec_f32 square = size * size;
    vec_f32 small = vec_fma(size * square, vec_polynomial(square, c, 5), size);
    vec_f32 twice = vec_min(size, vec_set(10.0f)) * 2.0f;
    vec_exponential e = vec_exp_parts(twice, vec_set(0.0f));
    vec_f32 large = 1.0f - 2.0f / (vec_scale(e.fraction + 1.0f, e.exponent) + 1.0f);

    (void)a;
    (void)b;
    return vec_with_sign(vec_select(size < 0.625f, small, large), x);
}

/* The error function: at most 1.5 units. */
VEC_INLINE vec_f32 vec_erf(vec_f32 x, vec_f32 a, vec_f32 b)
{
    static const float near[] = {0.128379166f,   -0.376126289f,    0.112836182f,   -0.026855126f,
                                 0.00519073382f, -0.000803076138f, 7.92036808e-05f};
    static const float far[] = {1.84960556f,     2.63896275f,    0.84317261f,     0.0412594303f,
                                -0.00944583677f, 0.00147530891f, -8.86003909e-05f};
    vec_f32 size = vec_abs(x);
    vec_f32 small = vec_fma(size, vec_polynomial(size * size, near, 7), size);
    vec_f32 beyond = vec_min(size, vec_set(4.0f)) - 1.0f;
    vec_exponential e = vec_exp_parts(-vec_polynomial(beyond, far, 7), vec_set(0.0f));
    vec_f32 large = 1.0f - vec_scale(e.fraction + 1.0f, e.exponent);

    (void)a;
    (void)b;
    return vec_with_sign(vec_select(size < 1.0f, small, large), x);
}

/* x / (1 + e^-z) for z = gate + rest. The power of two of e^z is applied last, so that a product
 * that is a normal number is never computed from a subnormal one. Where z < 0, |x| beyond `most`
 * counts as `most`: the result is zero all the same. */
VEC_INLINE vec_f32 vec_gated(vec_f32 x, vec_f32 gate, vec_f32 rest, float most)
{
    bool is_far = most > 1e6f;
    vec_i32 below = gate < 0.0f;
    vec_f32 size = vec_min(vec_abs(gate), vec_set(is_far ? 200.0f : 150.0f));
    vec_exponential e = vec_exp_parts(-size, vec_select(below, rest, -rest));
    vec_f32 power = e.fraction + 1.0f;
    vec_f32 sum = vec_scale(power, vec_max(e.exponent, vec_set(-60.0f))) + 1.0f;
    /* Half of the power: x may be the largest float. */
    vec_f32 share = vec_select(below, power * 0.5f, vec_set(1.0f)) / sum;
    vec_f32 exponent = vec_select(below, e.exponent + 1.0f, vec_set(0.0f));
    /* An infinite x times zero is NaN, as in the formula; nothing else changes. */
    vec_f32 nothing = (vec_f32)((vec_i32)(x - x) & below);

    x = vec_select(below, vec_min(vec_max(x, vec_set(-most)), vec_set(most)), x) * share;
    return (is_far ? vec_scale_far(x, exponent) : vec_scale(x, exponent)) - nothing;
}

/* Gates below this leave all powers normal: the plain formula does. Lanes of one vector take one
 * way together, so the last bit of a result may depend on its neighbours. */
#define VEC_PLAIN_GATE 80.0f

/* x / (1 + e^-z) for z = gate + rest, where |gate| < VEC_PLAIN_GATE. */
VEC_INLINE vec_f32 vec_gated_plain(vec_f32 x, vec_f32 gate, vec_f32 rest)
{
    vec_exponential e = vec_exp_parts(-gate, -rest);

    return x / (vec_scale(e.fraction + 1.0f, e.exponent) + 1.0f);
}

/* 1 + e^-x for |x| < VEC_PLAIN_GATE. */
VEC_INLINE vec_f32 vec_logistic_sum(vec_f32 x)
{
#if defined(__AVX512F__)
    /* 2^n 2^r for n in sixteenths and |r| <= 1/32 */
    static const float c[] = {1.0f, 0.693147182f, 0.240226507f, 0.0555041097f}; /* of 2^r */
    const vec_f32 slope = vec_set(-1.44269502f);
    vec_f32 sum = vec_fma(x, slope, vec_set(VEC_SIXTEENTHS));
    vec_f32 n = sum - VEC_SIXTEENTHS;
    vec_f32 r = vec_fma(x, vec_set(-1.92596303e-8f), vec_fma(x, slope, -n));
    vec_f32 power = (vec_f32)(vec_power_entry(sum) + ((vec_u32)sum << 19));

    return vec_fma(power, vec_polynomial(r, c, 4), vec_set(1.0f));
#else
    vec_exponential e = vec_exp_parts(-x, vec_set(0.0f));

    return vec_scale(e.fraction + 1.0f, e.exponent) + 1.0f;
#endif
}

/* 1 / (1 + e^-x): at most 3.5 units. */
VEC_INLINE vec_f32 vec_sigmoid(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)a;
    (void)b;
    if (vec_within(x, VEC_PLAIN_GATE)) {
        return 1.0f / vec_logistic_sum(x);
    }
    return vec_gated(vec_set(1.0f), x, vec_set(0.0f), 1.0f);
}

/* x / (1 + e^(-a x)): at most 4 units. */
VEC_INLINE vec_f32 vec_swish(vec_f32 x, vec_f32 a, vec_f32 b)
{
    vec_f32 gate = a * x;
    vec_f32 rest = vec_product_rest(a, x, gate);

    (void)b;
    if (vec_within(gate, VEC_PLAIN_GATE)) {
        return vec_gated_plain(x, gate, rest);
    }
    return vec_gated(x, gate, vec_select(vec_abs(gate) < 1e4f, rest, vec_set(0.0f)), FLT_MAX);
}

/* x sigmoid(x): vec_swish for a = 1, whose product has no rest. */
VEC_INLINE vec_f32 vec_swish_one(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)a;
    (void)b;
    if (vec_within(x, VEC_PLAIN_GATE)) {
        return x / vec_logistic_sum(x);
    }
    return vec_gated(x, x, vec_set(0.0f), FLT_MAX);
}

/* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): at most 4 units. */
VEC_INLINE vec_f32 vec_gelu_tanh(vec_f32 x, vec_f32 a, vec_f32 b)
{
    /* 2 sqrt(2 / pi) and its product with 0.044715, each in two parts. */
    const vec_f32 c1 = vec_set(1.59576917f);
    const vec_f32 c3 = vec_set(0.0713548139f);
    vec_f32 t = vec_max(vec_min(x, vec_set(16.0f)), vec_set(-16.0f));
    vec_f32 square = t * t;
    vec_f32 cubic = square * c3;
    vec_f32 slope = cubic + c1;
    vec_f32 moved = slope - cubic; /* what c1 has become in the sum */
    vec_f32 slope_rest = (cubic - (slope - moved)) + (c1 - moved);
    vec_f32 gate = t * slope;
    vec_f32 rest = vec_product_rest(t, slope, gate);

    (void)a;
    (void)b;
    slope_rest += vec_product_rest(square, c3, cubic) - 4.53406805e-08f;
    slope_rest += vec_product_rest(t, t, square) * c3 + square * 2.39883247e-09f;
    rest = vec_fma(t, slope_rest, rest);
    return vec_gated(x, gate, rest, 16.0f);
}

/* Phi(-size) is e^(-size^2 / 2) times a slow function of size >= 0, a polynomial in
 * (size - 2) / (size + 3) divided by size + 3. This is the polynomial. */
VEC_INLINE vec_f32 vec_normal_tail(vec_f32 size)
{
    static const float c[] = {0.840510011f,   -0.727946937f,   0.367686063f,   -0.0627635047f,
                              -0.0343335979f, 0.0124467509f,   0.0063278391f,  -0.00179030187f,
                              -0.0016109522f, 9.74861905e-05f, 0.000318376697f};

    return vec_polynomial((size - 2.0f) / (size + 3.0f), c, 11);
}

/* e^(-size^2 / 2) */
VEC_INLINE vec_exponential vec_bell_parts(vec_f32 size)
{
    vec_f32 square = size * size;
    vec_f32 rest = vec_product_rest(size, size, square);

    return vec_exp_parts(square * -0.5f, rest * -0.5f);
}

/* x Phi(x) = x / 2 (1 + erf(x / sqrt(2))): at most 4 units where multiply and add fuse, else
 * 4.5. */
VEC_INLINE vec_f32 vec_gelu(vec_f32 x, vec_f32 a, vec_f32 b)
{
    vec_f32 size = vec_min(vec_abs(x), vec_set(15.0f));
    vec_exponential e = vec_bell_parts(size);
    vec_f32 share = vec_with_sign(size, x) * vec_normal_tail(size) / (size + 3.0f);
    vec_f32 tail = vec_scale(vec_fma(share, e.fraction, share), e.exponent);

    (void)a;
    (void)b;
    return vec_select((vec_i32)x < 0, tail - (x - x), x - tail);
}

/* The derivative of x Phi(x): Phi(x) + x phi(x); absolute error below 3e-7. */
VEC_INLINE vec_f32 vec_gelu_slope(vec_f32 x)
{
    vec_f32 size = vec_min(vec_abs(x), vec_set(15.0f));
    vec_exponential e = vec_bell_parts(size);
    vec_f32 share = vec_normal_tail(size) / (size + 3.0f) - size * 0.398942280f;
    vec_f32 tail = vec_scale(vec_fma(share, e.fraction, share), e.exponent);

    return vec_select((vec_i32)x < 0, tail, 1.0f - tail);
}

#endif
