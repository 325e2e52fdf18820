/* The activations of every variant against double precision, over a grid and at special places. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/elementwise/activation_f32.h"

enum { COUNT = 24001, HALF = COUNT / 2 };

static double exact_elu(double x)
{
    return x < 0 ? expm1(x) : x;
}

static double exact_gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}

static double exact_gelu_tanh(double x)
{
    return x / (1 + exp(-1.5957691216057307 * (x + 0.044715 * x * x * x)));
}

static double hard(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static double exact_hard_sigmoid(double x)
{
    return hard(0.2 * x + 0.5);
}

static double exact_hard_sigmoid_sixth(double x)
{
    return hard(x / 6 + 0.5);
}

static double exact_hard_swish(double x)
{
    return x * hard(x / 6 + 0.5);
}

static double exact_leaky_relu(double x)
{
    return x < 0 ? 0.01 * x : x;
}

static double exact_leaky_relu_tenth(double x)
{
    return x < 0 ? 0.1 * x : x;
}

static double exact_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double exact_softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static double exact_mish(double x)
{
    return x * tanh(exact_softplus(x));
}

static double exact_swish(double x)
{
    return x / (1 + exp(-x));
}

static double (*const exact[ACTIVATION_F32_KINDS])(double x) = {
    [ACTIVATION_F32_ELU] = exact_elu,
    [ACTIVATION_F32_GELU] = exact_gelu,
    [ACTIVATION_F32_GELU_TANH] = exact_gelu_tanh,
    [ACTIVATION_F32_HARD_SIGMOID] = exact_hard_sigmoid,
    [ACTIVATION_F32_HARD_SIGMOID_SIXTH] = exact_hard_sigmoid_sixth,
    [ACTIVATION_F32_HARD_SWISH] = exact_hard_swish,
    [ACTIVATION_F32_LEAKY_RELU] = exact_leaky_relu,
    [ACTIVATION_F32_LEAKY_RELU_TENTH] = exact_leaky_relu_tenth,
    [ACTIVATION_F32_MISH] = exact_mish,
    [ACTIVATION_F32_SIGMOID] = exact_sigmoid,
    [ACTIVATION_F32_SOFTPLUS] = exact_softplus,
    [ACTIVATION_F32_SWISH] = exact_swish,
    [ACTIVATION_F32_TANH] = tanh,
};

static void check_grid(const activation_f32_kernel *kernel, int kind)
{
    static float from[COUNT];
    static float to[COUNT];

    for (int i = 0; i < COUNT; i++) {
        from[i] = (float)(i - HALF) * 0.0025f;
    }
    kernel->run[kind](to, from, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double wanted = exact[kind]((double)from[i]);
        /* Near the kink of a hard gate a product of rounding and x is left. */
        double most = 5e-7 * fabs(wanted) + 2e-7 * fmin(1, fabs((double)from[i])) + 1e-37;

        if (!(fabs((double)to[i] - wanted) <= most)) {
            fail_msg("%s, kind %d: %g at %g, not %g", kernel->name, kind, (double)to[i],
                     (double)from[i], wanted);
        }
    }
}

static void check_special(const activation_f32_kernel *kernel, int kind)
{
    float x[3] = {NAN, INFINITY, 3e38f};

    kernel->run[kind](x, x, 3);
    assert_true(isnan(x[0]));
    assert_true((double)x[1] == exact[kind]((double)INFINITY));
    assert_true(fabs((double)x[2] / exact[kind]((double)3e38f) - 1) < 1e-6);
}

static void check_lengths(const activation_f32_kernel *kernel, int kind)
{
    enum { MOST = 40 };
    float from[MOST];
    float whole[MOST];

    for (int i = 0; i < MOST; i++) {
        from[i] = (float)(i - 20) * 0.31f;
    }
    kernel->run[kind](whole, from, MOST);
    for (int n = 0; n <= MOST; n++) {
        float room[MOST + 1];

        memcpy(room, from, sizeof from);
        room[n] = 7.0f;
        kernel->run[kind](room, room, n);
        assert_memory_equal(room, whole, (size_t)n * sizeof *whole);
        assert_true(room[n] == 7.0f);
    }
}

static void test_activations(void **state)
{
    (void)state;
    for (int v = 0; v < activation_f32_variant_count; v++) {
        for (int kind = 0; kind < ACTIVATION_F32_KINDS; kind++) {
            if (isa_usable(activation_f32_variants[v].level)) {
                check_grid(activation_f32_variants[v].table, kind);
                check_special(activation_f32_variants[v].table, kind);
                check_lengths(activation_f32_variants[v].table, kind);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
