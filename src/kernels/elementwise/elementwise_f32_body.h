/* The loops of the elementwise kernels, compiled once per instruction set by the files that include
 * this one. Functions of a vector are passed to force-inlined loops, so that each loop has its
 * function inside. */
#ifndef KERNELS_ELEMENTWISE_ELEMENTWISE_F32_BODY_H
#define KERNELS_ELEMENTWISE_ELEMENTWISE_F32_BODY_H

#include <stddef.h>

#include "kernels/elementwise/elementwise_f32.h"
#include "kernels/elementwise/elementwise_f32_map.h"
#include "kernels/elementwise/elementwise_f32_math.h"

/* ---- loops ---- */

/* to[i] = function(left[i], right[i], 0) */
VEC_INLINE void map_pair(float *to, const float *left, const float *right, int64_t n,
                         vec_function *function)
{
    const vec_f32 zero = vec_set(0.0f);
    int64_t i = 0;

    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(to + i, function(vec_load(left + i), vec_load(right + i), zero));
    }
    if (i < n) {
        vec_f32 x = vec_load_part(left + i, n - i);
        vec_f32 y = vec_load_part(right + i, n - i);

        vec_store_part(to + i, function(x, y, zero), n - i);
    }
}

/* Halves are added until one lane is left. */
VEC_INLINE float sum_of_lanes(vec_f32 x)
{
    float lanes[VEC_LANES];

    vec_store(lanes, x);
    for (int half = VEC_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

enum { SUM_CHAINS = 4, SUM_BLOCK = 64 * SUM_CHAINS * VEC_LANES };

/* What a row is added up over; a and b are the parameters of `term`. */
typedef struct row_sum {
    vec_function *term;
    vec_f32 a, b;
    float *terms; /* [n] where to keep the terms, or NULL */
} row_sum;

VEC_INLINE vec_f32 sum_term(row_sum s, const float *from, int64_t at)
{
    vec_f32 term = s.term(vec_load(from + at), s.a, s.b);

    if (s.terms != NULL) {
        vec_store(s.terms + at, term);
    }
    return term;
}

VEC_INLINE float sum_block(row_sum s, const float *from, int64_t start, int64_t end)
{
    vec_f32 sums[SUM_CHAINS] = {{0}};
    int64_t i = start;

    for (; i + SUM_CHAINS * VEC_LANES <= end; i += SUM_CHAINS * VEC_LANES) {
#pragma GCC unroll 4
        for (int chain = 0; chain < SUM_CHAINS; chain++) {
            sums[chain] += sum_term(s, from, i + chain * VEC_LANES);
        }
    }
    for (; i + VEC_LANES <= end; i += VEC_LANES) {
        sums[0] += sum_term(s, from, i);
    }
    if (i < end) {
        vec_f32 term = s.term(vec_load_part(from + i, end - i), s.a, s.b);

        if (s.terms != NULL) {
            vec_store_part(s.terms + i, term, end - i);
        }
        sums[1] += vec_keep(term, end - i);
    }
    return sum_of_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* Blocks are short enough that single precision loses little; they meet in double precision. */
VEC_INLINE double sum_row(row_sum s, const float *from, int64_t n)
{
    double sum = 0.0;

    for (int64_t start = 0; start < n; start += SUM_BLOCK) {
        sum += (double)sum_block(s, from, start, n - start < SUM_BLOCK ? n : start + SUM_BLOCK);
    }
    return sum;
}

/* The largest that is no NaN; -infinity when there is none. */
VEC_INLINE float max_of_row(const float *from, int64_t n)
{
    vec_f32 most[4] = {vec_set(-INFINITY), vec_set(-INFINITY), vec_set(-INFINITY),
                       vec_set(-INFINITY)};
    float lanes[VEC_LANES];
    float best = -INFINITY;
    int64_t i = 0;

    /* vec_max drops a NaN in its second operand. */
    for (; i + 4 * VEC_LANES <= n; i += 4 * VEC_LANES) {
#pragma GCC unroll 4
        for (int chain = 0; chain < 4; chain++) {
            vec_f32 x = vec_load(from + i + chain * VEC_LANES);

            most[chain] = vec_max(most[chain], x);
        }
    }
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        most[0] = vec_max(most[0], vec_load(from + i));
    }
    vec_store(lanes, vec_max(vec_max(most[0], most[1]), vec_max(most[2], most[3])));
    for (int lane = 0; lane < VEC_LANES; lane++) {
        best = lanes[lane] > best ? lanes[lane] : best;
    }
    for (; i < n; i++) {
        best = from[i] > best ? from[i] : best;
    }
    return best;
}

/* ---- functions that the rows below are made of ---- */

VEC_INLINE vec_f32 term_itself(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)a;
    (void)b;
    return x;
}

VEC_INLINE vec_f32 term_square(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)a;
    (void)b;
    return x * x;
}

/* x - (a + b) where the sum has more digits than a float. */
VEC_INLINE vec_f32 term_distance(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return (x - a) - b;
}

VEC_INLINE vec_f32 term_square_distance(vec_f32 x, vec_f32 a, vec_f32 b)
{
    vec_f32 distance = term_distance(x, a, b);

    return distance * distance;
}

VEC_INLINE vec_f32 term_exp_distance(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return vec_exp(x - a, a, b);
}

VEC_INLINE vec_f32 vec_scaled(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return vec_fma(a, x, b);
}

VEC_INLINE vec_f32 vec_clamped(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return vec_min(vec_max(x, a), b);
}

VEC_INLINE vec_f32 vec_sum(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)b;
    return x + a;
}

VEC_INLINE vec_f32 vec_product(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)b;
    return x * a;
}

VEC_INLINE vec_f32 vec_difference(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)b;
    return x - a;
}

VEC_INLINE vec_f32 vec_quotient(vec_f32 x, vec_f32 a, vec_f32 b)
{
    (void)b;
    return x / a;
}

VEC_INLINE vec_f32 vec_sum_relu(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return vec_max(x + a, b);
}

/* ---- the kernels ---- */

static void run_exp(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_exp, 0.0f, 0.0f);
}

static void run_expm1(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_expm1, 0.0f, 0.0f);
}

static void run_log(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_log, 0.0f, 0.0f);
}

static void run_tanh(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_tanh, 0.0f, 0.0f);
}

static void run_erf(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_erf, 0.0f, 0.0f);
}

static void run_sigmoid(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_sigmoid, 0.0f, 0.0f);
}

static void run_softplus(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_softplus, 0.0f, 0.0f);
}

static void run_gelu(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_gelu, 0.0f, 0.0f);
}

static void run_gelu_tanh(float *to, const float *from, int64_t n)
{
    map(to, from, n, vec_gelu_tanh, 0.0f, 0.0f);
}

static void run_swish(float *to, const float *from, int64_t n, float a)
{
    if (a == 1.0f) {
        map(to, from, n, vec_swish_one, a, 0.0f);
    } else {
        map(to, from, n, vec_swish, a, 0.0f);
    }
}

static void run_elu(float *to, const float *from, int64_t n, float a)
{
    map(to, from, n, vec_elu, a, 0.0f);
}

static void run_scale(float *to, const float *from, int64_t n, float a, float b)
{
    map(to, from, n, vec_scaled, a, b);
}

static void run_clamp(float *to, const float *from, int64_t n, float a, float b)
{
    map(to, from, n, vec_clamped, a, b);
}

static void run_add(float *to, const float *left, const float *right, int64_t n)
{
    map_pair(to, left, right, n, vec_sum);
}

static void run_multiply(float *to, const float *left, const float *right, int64_t n)
{
    map_pair(to, left, right, n, vec_product);
}

static void run_subtract(float *to, const float *left, const float *right, int64_t n)
{
    map_pair(to, left, right, n, vec_difference);
}

static void run_divide(float *to, const float *left, const float *right, int64_t n)
{
    map_pair(to, left, right, n, vec_quotient);
}

static void run_add_one(float *to, const float *from, int64_t n, float a)
{
    map(to, from, n, vec_sum, a, 0.0f);
}

static void run_multiply_one(float *to, const float *from, int64_t n, float a)
{
    map(to, from, n, vec_product, a, 0.0f);
}

static void run_divide_one(float *to, const float *from, int64_t n, float a)
{
    map(to, from, n, vec_quotient, a, 0.0f);
}

static void run_add_relu(float *to, const float *left, const float *right, int64_t n)
{
    map_pair(to, left, right, n, vec_sum_relu);
}

static void run_softmax(float *to, const float *from, int64_t n)
{
    row_sum s = {term_exp_distance, vec_set(max_of_row(from, n)), vec_set(0.0f), to};
    double sum = sum_row(s, from, n);

    map(to, to, n, vec_product, (float)(1.0 / sum), 0.0f);
}

static void run_log_softmax(float *to, const float *from, int64_t n)
{
    float most = max_of_row(from, n);
    row_sum s = {term_exp_distance, vec_set(most), vec_set(0.0f), NULL};

    map(to, from, n, term_distance, most, (float)log(sum_row(s, from, n)));
}

static double run_sum(const float *from, int64_t n)
{
    row_sum s = {.term = term_itself};

    return sum_row(s, from, n);
}

/* to = from * inv_scale * gamma + beta, in place or not */
VEC_INLINE vec_f32 normalised(vec_f32 x, const elementwise_f32_moments *m, float mean_rest,
                              vec_f32 gamma, vec_f32 beta)
{
    vec_f32 distance = term_distance(x, vec_set(m->mean), vec_set(mean_rest));

    return vec_fma(distance * m->inv_scale, gamma, beta);
}

VEC_INLINE void normalise(float *to, const float *from, int64_t n, const elementwise_f32_norm *norm,
                          const elementwise_f32_moments *m, float mean_rest)
{
    const vec_f32 one = vec_set(1.0f);
    const vec_f32 zero = vec_set(0.0f);
    int64_t i = 0;

    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_f32 gamma = norm->gamma != NULL ? vec_load(norm->gamma + i) : one;
        vec_f32 beta = norm->beta != NULL ? vec_load(norm->beta + i) : zero;

        vec_store(to + i, normalised(vec_load(from + i), m, mean_rest, gamma, beta));
    }
    if (i < n) {
        vec_f32 gamma = norm->gamma != NULL ? vec_load_part(norm->gamma + i, n - i) : one;
        vec_f32 beta = norm->beta != NULL ? vec_load_part(norm->beta + i, n - i) : zero;
        vec_f32 x = vec_load_part(from + i, n - i);

        vec_store_part(to + i, normalised(x, m, mean_rest, gamma, beta), n - i);
    }
}

static elementwise_f32_moments run_layer_norm(float *to, const float *from, int64_t n,
                                              const elementwise_f32_norm *norm)
{
    /* Seen from an element of the row, a mean far from zero costs no digits. */
    float near = n > 0 ? from[0] : 0.0f;
    row_sum distance = {.term = term_distance, .a = vec_set(near)};
    row_sum square = {.term = term_square_distance};
    elementwise_f32_moments m;
    double mean = (double)near + sum_row(distance, from, n) / (double)n;
    float rest;

    m.mean = (float)mean;
    rest = (float)(mean - (double)m.mean);
    square.a = vec_set(m.mean);
    square.b = vec_set(rest);
    m.inv_scale = (float)(1.0 / sqrt(sum_row(square, from, n) / (double)n + (double)norm->epsilon));
    normalise(to, from, n, norm, &m, rest);
    return m;
}

static elementwise_f32_moments run_rms_norm(float *to, const float *from, int64_t n,
                                            const elementwise_f32_norm *norm)
{
    row_sum square = {.term = term_square};
    elementwise_f32_norm scale = {.gamma = norm->gamma};
    double mean = sum_row(square, from, n) / (double)n;
    elementwise_f32_moments m = {0.0f, (float)(1.0 / sqrt(mean + (double)norm->epsilon))};

    normalise(to, from, n, &scale, &m, 0.0f);
    return m;
}

/* The variant of this instruction set, as an initialiser. */
#define ELEMENTWISE_F32(NAME)                                                                     \
    {                                                                                             \
        .name = (NAME), .exp = run_exp, .expm1 = run_expm1, .log = run_log, .tanh = run_tanh,     \
        .erf = run_erf, .sigmoid = run_sigmoid, .softplus = run_softplus, .gelu = run_gelu,       \
        .gelu_tanh = run_gelu_tanh, .swish = run_swish, .elu = run_elu, .scale = run_scale,       \
        .clamp = run_clamp, .add = run_add, .multiply = run_multiply, .add_relu = run_add_relu,   \
        .softmax = run_softmax, .log_softmax = run_log_softmax, .layer_norm = run_layer_norm,     \
        .subtract = run_subtract, .divide = run_divide, .add_one = run_add_one,                   \
        .multiply_one = run_multiply_one, .divide_one = run_divide_one, .rms_norm = run_rms_norm, \
        .sum = run_sum                                                                            \
    }

#endif
