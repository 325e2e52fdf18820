/* The activations, compiled once per instruction set by the files that include this one. */
#ifndef KERNELS_ELEMENTWISE_ACTIVATION_F32_BODY_H
#define KERNELS_ELEMENTWISE_ACTIVATION_F32_BODY_H

#include "kernels/elementwise/activation_f32.h"
#include "kernels/elementwise/elementwise_f32_map.h"
#include "kernels/elementwise/elementwise_f32_math.h"

/* a x + 1/2 between 0 and 1 */
VEC_INLINE vec_f32 vec_hard_sigmoid(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)b;
    return vec_min(vec_max(vec_fma(a, x, vec_set(0.5f)), vec_set(0.0f)), vec_set(1.0f));
}

VEC_INLINE vec_f32 vec_hard_swish(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return x * vec_hard_sigmoid(x, a, b);
}

/* The slope is below 1. */
VEC_INLINE vec_f32 vec_leaky_relu(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)b;
    return vec_max(a * x, x);
}

/* tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2), which is 1 - 2^-27 where x = 10. */
VEC_INLINE vec_f32 vec_mish(vec_f32 x, vec_f32 a, vec_f32 b)
{
    vec_f32 e = vec_exp(vec_min(x, vec_set(10.0f)), a, b);
    vec_f32 n = e * (e + 2.0f);

    return x * (n / (n + 2.0f));
}

static void run_elu(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_elu, 1.0f, 0.0f);
}

static void run_gelu(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_gelu, 0.0f, 0.0f);
}

static void run_gelu_tanh(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_gelu_tanh, 0.0f, 0.0f);
}

static void run_hard_sigmoid(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_hard_sigmoid, 0.2f, 0.0f);
}

static void run_hard_sigmoid_sixth(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_hard_sigmoid, 1.0f / 6.0f, 0.0f);
}

static void run_hard_swish(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_hard_swish, 1.0f / 6.0f, 0.0f);
}

static void run_leaky_relu(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_leaky_relu, 0.01f, 0.0f);
}

static void run_leaky_relu_tenth(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_leaky_relu, 0.1f, 0.0f);
}

static void run_mish(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_mish, 0.0f, 0.0f);
}

static void run_sigmoid(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_sigmoid, 0.0f, 0.0f);
}

static void run_softplus(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_softplus, 0.0f, 0.0f);
}

static void run_swish(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_swish_one, 0.0f, 0.0f);
}

static void run_tanh(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_tanh, 0.0f, 0.0f);
}

/* The variant of this instruction set, as an initialiser. */
#define ACTIVATION_F32(NAME)                                                              \
    {                                                                                     \
        (NAME),                                                                           \
        {                                                                                 \
            [ACTIVATION_F32_ELU] = run_elu, [ACTIVATION_F32_GELU] = run_gelu,             \
            [ACTIVATION_F32_GELU_TANH] = run_gelu_tanh,                                   \
            [ACTIVATION_F32_HARD_SIGMOID] = run_hard_sigmoid,                             \
            [ACTIVATION_F32_HARD_SIGMOID_SIXTH] = run_hard_sigmoid_sixth,                 \
            [ACTIVATION_F32_HARD_SWISH] = run_hard_swish,                                 \
            [ACTIVATION_F32_LEAKY_RELU] = run_leaky_relu,                                 \
            [ACTIVATION_F32_LEAKY_RELU_TENTH] = run_leaky_relu_tenth,                     \
            [ACTIVATION_F32_MISH] = run_mish, [ACTIVATION_F32_SIGMOID] = run_sigmoid,     \
            [ACTIVATION_F32_SOFTPLUS] = run_softplus, [ACTIVATION_F32_SWISH] = run_swish, \
            [ACTIVATION_F32_TANH] = run_tanh,                                             \
        }                                                                                 \
    }

#endif
