/* Operators on quantised tensors against dequantising, computing and quantising by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

static void add_scale(op_harness *h, spry_dtype dtype, float scale, int64_t zero)
{
    (void)op_harness_f32(h, 0, NULL, &scale);
    (void)op_harness_i64s(h, dtype, 0, NULL, &zero);
}

static double quantized(spry_dtype dtype, double x, double scale, double zero)
{
    double q = rint(x / scale) + zero;

    return fmin(fmax(q, (double)dtype_integer_min(dtype)), (double)dtype_integer_max(dtype));
}

static void adds_and_multiplies(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        spry_dtype dtype = round % 2 != 0 ? SPRY_DTYPE_I8 : SPRY_DTYPE_U8;
        bool product = round / 2 % 2 != 0;
        int64_t full[SPRY_TENSOR_MAX_RANK];
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        const tensor *a;
        const tensor *b;
        const tensor *out;
        op_harness h;
        int rank;

        op_harness_init(&h, "com.microsoft", product ? "QLinearMul" : "QLinearAdd", 1);
        h.state = (uint64_t)round;
        rank = op_harness_shape(&h, 4, full);
        a = op_harness_any(&h, dtype, rank, full, true);
        add_scale(&h, dtype, 0.5f, 3);
        rank = op_harness_smaller(&h, rank, full, shape);
        b = op_harness_any(&h, dtype, rank, shape, true);
        add_scale(&h, dtype, 0.25f, 1);
        add_scale(&h, dtype, 0.125f, 7);
        op_harness_run(&h, 1);
        out = op_harness_output(&h, 0);
        for (int64_t k = 0; k < tensor_count(out); k++) {
            double x = (convert_get_f64(a, op_harness_source(a, out, k)) - 3) * 0.5;
            double y = (convert_get_f64(b, op_harness_source(b, out, k)) - 1) * 0.25;

            assert_true(convert_get_f64(out, k) ==
                        quantized(dtype, product ? x * y : x + y, 0.125, 7));
        }
        op_harness_fini(&h);
    }
}

static void maps_every_byte(void **state)
{
    int64_t shape[] = {2, 128};

    (void)state;
    for (int form = 0; form < 4; form++) {
        spry_dtype dtype = form % 2 != 0 ? SPRY_DTYPE_I8 : SPRY_DTYPE_U8;
        bool leaky = form / 2 != 0;
        tensor *x;
        op_harness h;

        op_harness_init(&h, "com.microsoft", leaky ? "QLinearLeakyRelu" : "QLinearSigmoid", 1);
        op_harness_float(&h, "alpha", 0.5f);
        x = op_harness_input(&h, dtype, 2, shape);
        for (int i = 0; i < 256; i++) {
            ((uint8_t *)x->data)[i] = (uint8_t)i;
        }
        add_scale(&h, dtype, 0.25f, 2);
        add_scale(&h, dtype, 0.0625f, 1);
        op_harness_run(&h, 1);
        for (int i = 0; i < 256; i++) {
            double real = (convert_get_f64(x, i) - 2) * 0.25;
            double y = leaky ? (real < 0 ? real / 2 : real) : 1 / (1 + exp(-real));

            assert_true(op_harness_f64_at(&h, 0, i) == quantized(dtype, y, 0.0625, 1));
        }
        op_harness_fini(&h);
    }
}

static void averages_over_places(void **state)
{
    int64_t shape[] = {2, 3, 4, 5};

    (void)state;
    for (int last = 0; last < 2; last++) {
        int64_t channels = last ? 5 : 3;
        int64_t places = last ? 12 : 20;
        const tensor *x;
        op_harness h;

        op_harness_init(&h, "com.microsoft", "QLinearGlobalAveragePool", 1);
        op_harness_int(&h, "channels_last", last);
        x = op_harness_any(&h, SPRY_DTYPE_U8, 4, shape, false);
        add_scale(&h, SPRY_DTYPE_U8, 0.5f, 4);
        add_scale(&h, SPRY_DTYPE_U8, 0.25f, 9);
        op_harness_run(&h, 1);
        for (int64_t k = 0; k < 2 * channels; k++) {
            double sum = 0;

            for (int64_t i = 0; i < places; i++) {
                int64_t at = last ? (k / 5 * 12 + i) * 5 + k % 5 : k * 20 + i;

                sum += convert_get_f64(x, at) - 4;
            }
            assert_true(fabs(op_harness_f64_at(&h, 0, k) -
                             quantized(SPRY_DTYPE_U8, sum / (double)places * 0.5, 0.25, 9)) <= 1);
        }
        op_harness_fini(&h);
    }
}

static void joins_tensors_of_different_scales(void **state)
{
    int64_t left[] = {2, 2};
    int64_t right[] = {2, 1};
    op_harness h;

    (void)state;
    op_harness_init(&h, "com.microsoft", "QLinearConcat", 1);
    op_harness_int(&h, "axis", -1);
    add_scale(&h, SPRY_DTYPE_U8, 0.5f, 10);
    (void)op_harness_i64s(&h, SPRY_DTYPE_U8, 2, left, (int64_t[]){0, 1, 2, 3});
    add_scale(&h, SPRY_DTYPE_U8, 1.0f, 0);
    (void)op_harness_i64s(&h, SPRY_DTYPE_U8, 2, right, (int64_t[]){5, 255});
    add_scale(&h, SPRY_DTYPE_U8, 0.5f, 10);
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){10, 12, 5, 14, 16, 255});
    op_harness_fini(&h);

    op_harness_init(&h, "com.microsoft", "QLinearConcat", 1);
    add_scale(&h, SPRY_DTYPE_U8, 0.5f, 10);
    op_harness_omit(&h);
    add_scale(&h, SPRY_DTYPE_U8, 0.5f, 10);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_and_multiplies),
        cmocka_unit_test(maps_every_byte),
        cmocka_unit_test(averages_over_places),
        cmocka_unit_test(joins_tensors_of_different_scales),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
