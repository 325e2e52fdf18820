/* Transforms against the defining sum, determinants against products of triangles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

static uint64_t state = 9;

static int64_t pick(int64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state % (uint64_t)below);
}

static void fill(tensor *t)
{
    for (int64_t i = 0; i < tensor_count(t); i++) {
        double number = (double)(pick(2001) - 1000) / 1000;

        convert_write_f64(t, i, 1, &number);
    }
}

static void test_dft(void **unused)
{
    (void)unused;
    for (int64_t size = 1; size <= 64; size++) {
        const int64_t shape[4] = {2, size, 3, 1 + pick(2)};
        bool inverse = pick(2) == 0;
        const tensor *x;
        op_harness h;

        op_harness_init(&h, "", "DFT", 17);
        op_harness_int(&h, "inverse", inverse);
        fill(op_harness_input(&h, SPRY_DTYPE_F64, 4, shape));
        x = &h.inputs[0].tensor;
        op_harness_run(&h, 1);
        for (int64_t i = 0; i < 6 * size; i++) {
            double re = 0;
            double im = 0;

            for (int64_t n = 0; n < size; n++) {
                int64_t from = ((i / (3 * size) * size + n) * 3 + i % 3) * shape[3];
                double angle = 8 * atan(1) * (double)(n * (i / 3 % size)) / (double)size;
                double s = inverse ? sin(angle) : -sin(angle);
                double a = convert_get_f64(x, from);
                double b = shape[3] == 2 ? convert_get_f64(x, from + 1) : 0;

                re += (a * cos(angle) - b * s) / (inverse ? (double)size : 1);
                im += (a * s + b * cos(angle)) / (inverse ? (double)size : 1);
            }
            assert_true(fabs(op_harness_f64_at(&h, 0, 2 * i) - re) < 1e-9);
            assert_true(fabs(op_harness_f64_at(&h, 0, 2 * i + 1) - im) < 1e-9);
        }
        op_harness_fini(&h);
    }
}

/* Half a spectrum and back gives the real signal again, also of odd length. */
static void test_onesided(void **unused)
{
    const int64_t axis = 1;

    (void)unused;
    for (int64_t size = 1; size <= 17; size++) {
        const int64_t shape[3] = {2, size, 1};
        const tensor *half;
        op_harness there;
        op_harness back;

        op_harness_init(&there, "", "DFT", 20);
        op_harness_int(&there, "onesided", 1);
        fill(op_harness_input(&there, SPRY_DTYPE_F64, 3, shape));
        op_harness_omit(&there);
        op_harness_i64s(&there, SPRY_DTYPE_I64, 0, NULL, &axis);
        op_harness_run(&there, 1);
        half = op_harness_output(&there, 0);
        assert_int_equal(half->shape[1], size / 2 + 1);
        op_harness_init(&back, "", "DFT", 20);
        op_harness_int(&back, "onesided", 1);
        op_harness_int(&back, "inverse", 1);
        memcpy(op_harness_input(&back, SPRY_DTYPE_F64, 3, half->shape)->data, half->data,
               half->bytes);
        op_harness_i64s(&back, SPRY_DTYPE_I64, 0, NULL, &size);
        op_harness_i64s(&back, SPRY_DTYPE_I64, 0, NULL, &axis);
        op_harness_run(&back, 1);
        op_harness_expect(&back, 0, SPRY_DTYPE_F64, 3, shape);
        for (int64_t i = 0; i < 2 * size; i++) {
            assert_true(fabs(op_harness_f64_at(&back, 0, i) -
                             convert_get_f64(&there.inputs[0].tensor, i)) < 1e-12);
        }
        op_harness_fini(&there);
        op_harness_fini(&back);
    }
}

static void test_det(void **unused)
{
    (void)unused;
    for (int64_t n = 0; n < 8; n++) {
        const int64_t shape[2] = {n, n};
        double lower[64] = {0};
        double upper[64] = {0};
        double expected = 1;
        tensor *x;
        op_harness h;

        op_harness_init(&h, "", "Det", 11);
        x = op_harness_input(&h, SPRY_DTYPE_F64, 2, shape);
        for (int64_t i = 0; i < n * n; i++) {
            lower[i] = i % n < i / n ? (double)(pick(7) - 3) : i % n == i / n ? 1 : 0;
            upper[i] = i % n >= i / n ? (double)(1 + pick(3)) : 0;
            expected *= i % n == i / n ? upper[i] : 1;
        }
        for (int64_t i = 0; i < n * n; i++) {
            double sum = 0;

            for (int64_t k = 0; k < n; k++) {
                sum += lower[i / n * n + k] * upper[k * n + i % n];
            }
            convert_write_f64(x, i, 1, &sum);
        }
        op_harness_run(&h, 1);
        assert_true(fabs(op_harness_f64_at(&h, 0, 0) - expected) < 1e-6 * (1 + fabs(expected)));
        op_harness_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dft),
        cmocka_unit_test(test_onesided),
        cmocka_unit_test(test_det),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
