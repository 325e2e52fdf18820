/* The elementary functions of every variant against libm in double precision: 4 million floats
 * spread over all, and the neighbourhoods of the places where something changes.
 * SPRY_TEST_EXHAUSTIVE=all tries every float, SPRY_TEST_EXHAUSTIVE=exp those of one function;
 * SPRY_TEST_REPORT=1 prints the largest errors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/elementwise/elementwise_f32.h"

enum { BLOCK = 4096, MOST_VARIANTS = 8, STRIDE = 1021 };

/* ---- references ---- */

static double exact_sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static double exact_softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static double exact_swish(double x)
{
    return x / (1 + exp(-x));
}

static double exact_gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}

static double exact_gelu_tanh(double x)
{
    double gate = 1.5957691216057307 * (x + 0.044715 * x * x * x);

    return x / (1 + exp(-gate));
}

static double exact_elu(double x)
{
    return x < 0 ? expm1(x) : x;
}

/* ---- the functions under one signature ---- */

typedef void apply_function(const elementwise_f32_kernel *k, float *to, const float *from,
                            int64_t n);

static void apply_exp(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->exp(to, from, n);
}

static void apply_expm1(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->expm1(to, from, n);
}

static void apply_log(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->log(to, from, n);
}

static void apply_tanh(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->tanh(to, from, n);
}

static void apply_erf(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->erf(to, from, n);
}

static void apply_sigmoid(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->sigmoid(to, from, n);
}

static void apply_softplus(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->softplus(to, from, n);
}

static void apply_gelu(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->gelu(to, from, n);
}

static void apply_gelu_tanh(const elementwise_f32_kernel *k, float *to, const float *from,
                            int64_t n)
{
    k->gelu_tanh(to, from, n);
}

static void apply_swish(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->swish(to, from, n, 1.0f);
}

static void apply_elu(const elementwise_f32_kernel *k, float *to, const float *from, int64_t n)
{
    k->elu(to, from, n, 1.0f);
}

static const struct function_row {
    const char *name;
    apply_function *apply;
    double (*exact)(double x);
    double most; /* units in the last place */
} functions[] = {
    {"exp", apply_exp, exp, 1.1},
    {"expm1", apply_expm1, expm1, 2},
    {"log", apply_log, log, 0.9},
    {"tanh", apply_tanh, tanh, 2},
    {"erf", apply_erf, erf, 1.5},
    {"elu", apply_elu, exact_elu, 2},
    {"sigmoid", apply_sigmoid, exact_sigmoid, 3.5},
    {"softplus", apply_softplus, exact_softplus, 2},
    {"swish", apply_swish, exact_swish, 4},
    {"gelu", apply_gelu, exact_gelu, 4.5},
    {"gelu_tanh", apply_gelu_tanh, exact_gelu_tanh, 4},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* ---- the comparison ---- */

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* How far `got` is from `exact`, in steps between floats at `exact`. Infinity counts as 2^128. */
static double error_in_units(float got, double exact)
{
    int exponent;
    double value = (double)got;

    if (isnan(exact) || isnan(got)) {
        return isnan(exact) && isnan(got) ? 0 : (double)INFINITY;
    }
    if (exact == 0 && value == 0) {
        return !signbit(exact) == !signbit(value) ? 0 : (double)INFINITY;
    }
    if (isinf(value)) {
        value = copysign(0x1p128, value);
    }
    if (fabs(exact) > 0x1p128) {
        exact = copysign(0x1p128, exact);
    }
    (void)frexp(exact, &exponent);
    exponent = exponent - 24 < -149 ? -149 : exponent > 128 ? 104 : exponent - 24;
    return fabs(value - exact) / ldexp(1, exponent);
}

typedef struct worst {
    double error;
    float at;
} worst;

static void try_block(const struct function_row *f, const float *from, int64_t n, worst *found)
{
    double exact[BLOCK];
    float got[BLOCK];

    for (int64_t i = 0; i < n; i++) {
        exact[i] = f->exact((double)from[i]);
    }
    for (int v = 0; v < elementwise_f32_variant_count; v++) {
        if (!isa_usable(elementwise_f32_variants[v].level)) {
            continue;
        }
        f->apply(elementwise_f32_variants[v].table, got, from, n);
        for (int64_t i = 0; i < n; i++) {
            double error = error_in_units(got[i], exact[i]);

            if (error > found[v].error) {
                found[v] = (worst){error, from[i]};
            }
        }
    }
}

static void judge(const struct function_row *f, const worst *found)
{
    for (int v = 0; v < elementwise_f32_variant_count; v++) {
        const char *name = elementwise_f32_variants[v].name;

        if (getenv("SPRY_TEST_REPORT") != NULL) {
            printf("%-9s %-28s %6.3f at %.9g\n", f->name, name, found[v].error,
                   (double)found[v].at);
        }
        if (!(found[v].error <= f->most)) {
            fail_msg("%s of %s: %g units at %.9g, at most %g allowed", f->name, name,
                     found[v].error, (double)found[v].at, f->most);
        }
    }
}

static bool is_exhaustive(const char *name)
{
    const char *asked = getenv("SPRY_TEST_EXHAUSTIVE");

    return asked != NULL && (strcmp(asked, "all") == 0 || strcmp(asked, name) == 0);
}

static void test_functions_over_floats(void **state)
{
    (void)state;
    for (int f = 0; f < FUNCTIONS; f++) {
        uint64_t stride = is_exhaustive(functions[f].name) ? 1 : STRIDE;
        worst found[MOST_VARIANTS] = {{0}};
        float from[BLOCK];
        uint64_t bits = 0;

        while (bits < (UINT64_C(1) << 32)) {
            int64_t n = 0;

            for (; n < BLOCK && bits < (UINT64_C(1) << 32); n++, bits += stride) {
                from[n] = float_of((uint32_t)bits);
            }
            try_block(&functions[f], from, n, found);
        }
        judge(&functions[f], found);
    }
}

static void test_functions_at_edges(void **state)
{
    static const float edges[] = {
        0.0f,  0x1p-126f,  0x1p-125f, 1e-20f,          2e-4f,    0.34657359f, 0.41421356f,
        0.5f,  0.625f,     0.693f,    0.707107f,       1.0f,     1.41421f,    1.5f,
        2.0f,  4.0f,       9.02f,     10.0f,           13.1f,    14.0f,       15.0f,
        16.0f, 16.63f,     17.3f,     20.0f,           87.3365f, 88.37f,      88.7228f,
        89.0f, 103.279f,   103.972f,  104.0f,          107.0f,   150.0f,      200.0f,
        1e4f,  8388608.0f, 0x1p64f,   0x1.fffffep127f, INFINITY, NAN};
    enum { AROUND = 40 };

    (void)state;
    for (int f = 0; f < FUNCTIONS; f++) {
        worst found[MOST_VARIANTS] = {{0}};

        for (size_t e = 0; e < sizeof edges / sizeof *edges; e++) {
            float from[4 * AROUND];

            for (uint32_t i = 0; i < 2 * AROUND; i++) {
                uint32_t bits = bits_of(edges[e]) + i - AROUND;

                from[2 * i] = float_of(bits & 0x7FFFFFFFu);
                from[2 * i + 1] = float_of(bits | 0x80000000u);
            }
            try_block(&functions[f], from, 4 * AROUND, found);
        }
        judge(&functions[f], found);
    }
}

/* Any length, in place or not, gives the same bits and touches nothing else. */
static void test_lengths_and_places(void **state)
{
    enum { MOST = 70 };
    float from[MOST];

    (void)state;
    for (int i = 0; i < MOST; i++) {
        from[i] = (float)(i - 30) * 0.37f;
    }
    for (int v = 0; v < elementwise_f32_variant_count; v++) {
        if (!isa_usable(elementwise_f32_variants[v].level)) {
            continue;
        }
        for (int f = 0; f < FUNCTIONS; f++) {
            const elementwise_f32_kernel *kernel = elementwise_f32_variants[v].table;
            float whole[MOST];

            functions[f].apply(kernel, whole, from, MOST);
            for (int n = 0; n <= MOST; n++) {
                float *exact_room = malloc((size_t)n * sizeof *exact_room + 1);
                float room[MOST + 2];

                assert_non_null(exact_room);
                memset(room, 0x55, sizeof room);
                functions[f].apply(kernel, room + 1, from, n);
                assert_memory_equal(room + 1, whole, (size_t)n * sizeof *whole);
                assert_int_equal(bits_of(room[0]), 0x55555555);
                assert_int_equal(bits_of(room[n + 1]), 0x55555555);
                memcpy(exact_room, from, (size_t)n * sizeof *from);
                functions[f].apply(kernel, exact_room, exact_room, n);
                assert_memory_equal(exact_room, whole, (size_t)n * sizeof *whole);
                free(exact_room);
            }
        }
    }
}

/* Slopes other than 1: x / (1 + e^(-a x)) and a (e^x - 1). */
static void test_parameters(void **state)
{
    static const float slopes[] = {1.702f, 0.5f, -1.3f, 0x1p-40f, 3e20f, 0.0f};
    enum { COUNT = 4001 };

    (void)state;
    for (int v = 0; v < elementwise_f32_variant_count; v++) {
        const elementwise_f32_kernel *kernel = elementwise_f32_variants[v].table;

        if (!isa_usable(elementwise_f32_variants[v].level)) {
            continue;
        }
        for (size_t s = 0; s < sizeof slopes / sizeof *slopes; s++) {
            float slope = slopes[s];
            float from[COUNT];
            float swish[COUNT];
            float elu[COUNT];

            for (int i = 0; i < COUNT; i++) {
                from[i] = (float)(i - COUNT / 2) * 0.0611f;
                from[i] = i % 3 == 0 ? from[i] / slope : from[i];
                from[i] = isfinite(from[i]) ? from[i] : 1e38f;
            }
            kernel->swish(swish, from, COUNT, slope);
            kernel->elu(elu, from, COUNT, slope);
            for (int i = 0; i < COUNT; i++) {
                double x = (double)from[i];
                double gated = x / (1 + exp(-x * (double)slope));
                double bent = x < 0 ? (double)slope * expm1(x) : x;

                if (!(error_in_units(swish[i], gated) <= 4) ||
                    !(error_in_units(elu[i], bent) <= 3)) {
                    fail_msg("%s, a = %g, x = %.9g: swish %g (%g), elu %g (%g)", kernel->name,
                             (double)slope, x, (double)swish[i], gated, (double)elu[i], bent);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths_and_places),
        cmocka_unit_test(test_functions_at_edges),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_functions_over_floats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
