/* Functions of one tensor against libm's wide versions, for all types. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

typedef struct law {
    const char *name;
    int opset;
    uint32_t types;
    long double (*f)(long double x);
    const char *attribute;
    float number;
} law;

static long double l_abs(long double x)
{
    return x < 0 ? -x : x;
}
static long double l_neg(long double x)
{
    return -x;
}
static long double l_sign(long double x)
{
    return isnan(x) ? x : (x > 0) - (x < 0);
}
static long double l_reciprocal(long double x)
{
    return 1 / x;
}
static long double l_relu(long double x)
{
    return isnan(x) || x > 0 ? x : 0;
}
static long double l_sigmoid(long double x)
{
    return 1 / (1 + expl(-x));
}
static long double l_softplus(long double x)
{
    return x > 1000 ? x : logl(1 + expl(x));
}
static long double l_softsign(long double x)
{
    return x / (1 + l_abs(x));
}
static long double l_hard_swish(long double x)
{
    return isnan(x) ? x : x * fmaxl(0, fminl(1, x / 6 + 0.5L));
}
static long double l_hard_sigmoid(long double x)
{
    return isnan(x) ? x : fmaxl(0, fminl(1, (long double)0.2f * x + 0.5L));
}
static long double l_mish(long double x)
{
    return x * tanhl(l_softplus(x));
}
static long double l_gelu(long double x)
{
    return x * 0.5L * (1 + erfl(x / sqrtl(2)));
}
static long double l_leaky(long double x)
{
    return x < 0 ? 0.25L * x : x;
}
static long double l_elu(long double x)
{
    return x < 0 ? 2 * (expl(x) - 1) : x;
}
static long double l_selu(long double x)
{
    return (long double)1.05070102214813232421875f *
           (x > 0 ? x : 1.67326319217681884765625L * (expl(x) - 1));
}
static long double l_celu(long double x)
{
    return x < 0 ? 2 * (expl(x / 2) - 1) : x;
}
static long double l_threshold(long double x)
{
    return isnan(x) || x > 1 ? x : 0;
}
static long double l_shrink(long double x)
{
    return x < -1.5L || x > 1.5L || isnan(x) ? x : 0;
}
static long double l_swish(long double x)
{
    return x / (1 + expl(-2 * x));
}

static const law laws[] = {
    {"Abs", 13, OP_NUMERIC, l_abs, NULL, 0},
    {"Neg", 13, OP_FLOATS | OP_SIGNED, l_neg, NULL, 0},
    {"Sign", 13, OP_NUMERIC, l_sign, NULL, 0},
    {"Sqrt", 13, OP_FLOATS, sqrtl, NULL, 0},
    {"Exp", 13, OP_FLOATS, expl, NULL, 0},
    {"Log", 13, OP_FLOATS, logl, NULL, 0},
    {"Floor", 13, OP_FLOATS, floorl, NULL, 0},
    {"Ceil", 13, OP_FLOATS, ceill, NULL, 0},
    {"Round", 11, OP_FLOATS, rintl, NULL, 0},
    {"Sin", 7, OP_FLOATS, sinl, NULL, 0},
    {"Cos", 7, OP_FLOATS, cosl, NULL, 0},
    {"Tan", 7, OP_FLOATS, tanl, NULL, 0},
    {"Asin", 7, OP_FLOATS, asinl, NULL, 0},
    {"Acos", 7, OP_FLOATS, acosl, NULL, 0},
    {"Atan", 7, OP_FLOATS, atanl, NULL, 0},
    {"Sinh", 9, OP_FLOATS, sinhl, NULL, 0},
    {"Cosh", 9, OP_FLOATS, coshl, NULL, 0},
    {"Tanh", 13, OP_FLOATS, tanhl, NULL, 0},
    {"Asinh", 9, OP_FLOATS, asinhl, NULL, 0},
    {"Acosh", 9, OP_FLOATS, acoshl, NULL, 0},
    {"Atanh", 9, OP_FLOATS, atanhl, NULL, 0},
    {"Erf", 13, OP_FLOATS, erfl, NULL, 0},
    {"Reciprocal", 13, OP_FLOATS, l_reciprocal, NULL, 0},
    {"Relu", 14, OP_NUMERIC, l_relu, NULL, 0},
    {"Sigmoid", 13, OP_FLOATS, l_sigmoid, NULL, 0},
    {"Softplus", 1, OP_FLOATS, l_softplus, NULL, 0},
    {"Softsign", 1, OP_FLOATS, l_softsign, NULL, 0},
    {"HardSwish", 14, OP_FLOATS, l_hard_swish, NULL, 0},
    {"HardSigmoid", 6, OP_FLOATS, l_hard_sigmoid, NULL, 0},
    {"Mish", 18, OP_FLOATS, l_mish, NULL, 0},
    {"Gelu", 20, OP_FLOATS, l_gelu, NULL, 0},
    {"LeakyRelu", 16, OP_FLOATS, l_leaky, "alpha", 0.25f},
    {"Elu", 6, OP_FLOATS, l_elu, "alpha", 2},
    {"Selu", 6, OP_FLOATS, l_selu, NULL, 0},
    {"Celu", 12, OP_FLOATS, l_celu, "alpha", 2},
    {"ThresholdedRelu", 10, OP_FLOATS, l_threshold, NULL, 0},
    {"Shrink", 9, OP_FLOATS, l_shrink, "lambd", 1.5f},
    {"Swish", 24, OP_FLOATS, l_swish, "alpha", 2},
};

/* Rounded once to `dtype`, with what half a dozen units in the last place of its computing type
 * allow. */
static void check(const law *l, spry_dtype dtype, double x, double actual)
{
    double expected = (double)l->f((long double)x);
    double unit = dtype == SPRY_DTYPE_F64   ? 1e-13
                  : dtype == SPRY_DTYPE_F32 ? 1e-6
                  : dtype == SPRY_DTYPE_F16 ? 1e-3
                                            : 1e-2;
    double largest = dtype == SPRY_DTYPE_F64 ? 1e308 : dtype == SPRY_DTYPE_F16 ? 65519 : 3.3e38;

    if ((isnan(expected) && isnan(actual)) || expected == actual ||
        fabs(expected - actual) <= unit * (0.06 + fabs(expected)) ||
        (fabs(expected) > largest && isinf(actual))) {
        return;
    }
    fail_msg("%s(%g) of %s is %.17g, expected %.17g", l->name, x, spry_dtype_name(dtype), actual,
             expected);
}

static void follows_its_law_for_every_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        for (int dtype = 1; dtype < SPRY_DTYPE_COUNT; dtype++) {
            op_harness h;
            int64_t shape[] = {7, 211};
            const tensor *from;

            if ((laws[i].types >> dtype & 1) == 0) {
                continue;
            }
            op_harness_init(&h, "", laws[i].name, laws[i].opset);
            if (laws[i].attribute != NULL) {
                op_harness_float(&h, laws[i].attribute, laws[i].number);
            }
            from = op_harness_any(&h, (spry_dtype)dtype, 2, shape,
                                  dtype_class_of((spry_dtype)dtype) == DTYPE_CLASS_FLOAT);
            op_harness_run(&h, 1);
            for (int64_t k = 0; k < tensor_count(from); k++) {
                check(&laws[i], (spry_dtype)dtype, convert_get_f64(from, k),
                      op_harness_f64_at(&h, 0, k));
            }
            op_harness_fini(&h);
        }
    }
}

static void keeps_shapes_without_elements_or_axes(void **state)
{
    int64_t empty[] = {3, 0, 2};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Relu", 14);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 3, empty, false);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F32, 3, empty);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Neg", 13);
    (void)op_harness_f32(&h, 0, NULL, (float[]){2.5f});
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){-2.5}, 0.0);
    op_harness_fini(&h);
}

static void integers_wrap(void **state)
{
    int64_t shape[] = {3};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Abs", 13);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, shape, (int64_t[]){INT64_MIN, -5, 5});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){INT64_MIN, 5, 5});
    op_harness_fini(&h);

    op_harness_init(&h, "", "Sign", 13);
    (void)op_harness_i64s(&h, SPRY_DTYPE_U64, 1, shape, (int64_t[]){-1, 0, 5});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){1, 0, 1});
    op_harness_fini(&h);

    op_harness_init(&h, "", "BitwiseNot", 18);
    (void)op_harness_i64s(&h, SPRY_DTYPE_U8, 1, shape, (int64_t[]){0, 255, 5});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){255, 0, 250});
    op_harness_fini(&h);

    op_harness_init(&h, "", "Not", 1);
    (void)op_harness_i64s(&h, SPRY_DTYPE_BOOL, 1, shape, (int64_t[]){0, 1, 1});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){1, 0, 0});
    op_harness_fini(&h);

    op_harness_init(&h, "", "Shrink", 9);
    op_harness_float(&h, "lambd", 2);
    op_harness_float(&h, "bias", 1);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I32, 1, shape, (int64_t[]){-3, 2, 5});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){-2, 0, 4});
    op_harness_fini(&h);
}

static void recognises_infinities_and_nan(void **state)
{
    int64_t shape[] = {4};
    double data[] = {INFINITY, -INFINITY, NAN, 1};
    op_harness h;

    (void)state;
    for (int dtype = 1; dtype < SPRY_DTYPE_COUNT; dtype++) {
        if ((OP_FLOATS >> dtype & 1) == 0) {
            continue;
        }
        op_harness_init(&h, "", "IsNaN", 20);
        (void)op_harness_f64s(&h, (spry_dtype)dtype, 1, shape, data);
        op_harness_run(&h, 1);
        op_harness_expect_i64(&h, 0, (int64_t[]){0, 0, 1, 0});
        op_harness_fini(&h);

        op_harness_init(&h, "", "IsInf", 20);
        op_harness_int(&h, "detect_negative", 0);
        (void)op_harness_f64s(&h, (spry_dtype)dtype, 1, shape, data);
        op_harness_run(&h, 1);
        op_harness_expect_i64(&h, 0, (int64_t[]){1, 0, 0, 0});
        op_harness_fini(&h);
    }
}

static void gelu_has_two_forms(void **state)
{
    int64_t shape[] = {2};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Gelu", 20);
    op_harness_string(&h, "approximate", "tanh");
    (void)op_harness_f32(&h, 1, shape, (float[]){1.0f, -2.0f});
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){0.8411919906082768, -0.045402305912225}, 1e-7);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Gelu", 20);
    op_harness_string(&h, "approximate", "fast");
    (void)op_harness_f32(&h, 1, shape, (float[]){1.0f, -2.0f});
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_its_law_for_every_type),
        cmocka_unit_test(keeps_shapes_without_elements_or_axes),
        cmocka_unit_test(integers_wrap),
        cmocka_unit_test(recognises_infinities_and_nan),
        cmocka_unit_test(gelu_has_two_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
