/* Squared lengths of gradients against sums in the plain way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "spry/random.h"
#include "support/op_harness.h"
#include "tensor/convert.h"

enum { MOST_EACH = 1 << 16 };

static tensor *normal_input(op_harness *h, spry_random *random, spry_dtype dtype,
                            const int64_t *shape)
{
    tensor *t = op_harness_input(h, dtype, 3, shape);

    for (int64_t i = 0; i < tensor_count(t); i++) {
        double x = spry_random_normal(random);

        convert_write_f64(t, i, 1, &x);
    }
    return t;
}

/* One number in `dtype` for each example, within what summing in it gives. */
static void assert_squares(op_harness *h, spry_dtype dtype, const double *expected, int64_t count)
{
    const tensor *found = &h->outputs[0].tensor;

    assert_int_equal(found->rank, 1);
    assert_int_equal(found->shape[0], count);
    for (int64_t n = 0; n < count; n++) {
        double x = convert_get_f64(found, n);
        double tolerance = (dtype == SPRY_DTYPE_F32 ? 2e-6 : 1e-13) * (expected[n] + 1e-30);

        if (!(fabs(x - expected[n]) <= tolerance)) {
            fail_msg("example %d: %.9g, not %.9g", (int)n, x, expected[n]);
        }
    }
}

/* The squares' sum; the gradient itself is put into `each`. */
static double square_product(const tensor *x, const tensor *dy, int64_t n, double *each)
{
    int64_t rows = x->shape[1];
    int64_t in = x->shape[2];
    int64_t out = dy->shape[2];
    double total = 0;

    for (int64_t i = 0; i < in; i++) {
        for (int64_t j = 0; j < out; j++) {
            double sum = 0;

            for (int64_t r = 0; r < rows; r++) {
                sum += convert_get_f64(x, (n * rows + r) * in + i) *
                       convert_get_f64(dy, (n * rows + r) * out + j);
            }
            each[(n * in + i) * out + j] = sum;
            total += sum * sum;
        }
    }
    return total;
}

/* All elements of output 1. */
static void assert_each(const op_harness *h, spry_dtype dtype, const double *expected)
{
    const tensor *found = &h->outputs[1].tensor;

    for (int64_t i = 0; i < tensor_count(found); i++) {
        double tolerance = dtype == SPRY_DTYPE_F32 ? 1e-4 : 1e-11;

        assert_true(fabs(convert_get_f64(found, i) - expected[i]) < tolerance);
    }
}

/* By the gradient itself (many rows), and by products of rows (few rows); hardly any of either. */
static void test_products(void **state)
{
    static const int64_t shapes[][4] = {{1, 1, 1, 1},      {3, 1, 40, 33},  {2, 65, 64, 17},
                                        {2, 65, 150, 131}, {5, 7, 3, 2},    {2, 16, 14, 32},
                                        {1, 33, 97, 96},   {4, 29, 64, 64}, {2, 0, 4, 4},
                                        {0, 3, 4, 4},      {2, 100, 13, 1}, {2, 15, 200, 45}};
    spry_random random = spry_random_stream(6, 0);

    (void)state;
    for (size_t k = 0; k < 4 * sizeof shapes / sizeof *shapes; k++) {
        static double each[MOST_EACH];
        const int64_t *s = shapes[k / 4];
        spry_dtype dtype = k % 2 == 0 ? SPRY_DTYPE_F32 : SPRY_DTYPE_F64;
        double expected[8];
        op_harness h;
        tensor *x;
        tensor *dy;

        op_harness_init(&h, "ai.spry", "ProductSquares", 1);
        x = normal_input(&h, &random, dtype, (int64_t[]){s[0], s[1], s[2]});
        dy = normal_input(&h, &random, dtype, (int64_t[]){s[0], s[1], s[3]});
        for (int64_t n = 0; n < s[0]; n++) {
            expected[n] = square_product(x, dy, n, each);
        }
        op_harness_run(&h, k % 4 < 2 ? 1 : 2);
        assert_squares(&h, dtype, expected, s[0]);
        if (k % 4 >= 2) {
            assert_each(&h, dtype, each);
        }
        op_harness_fini(&h);
    }
}

static double square_sum(const tensor *x, const tensor *y, int64_t n, double *each)
{
    int64_t rows = x->shape[1];
    int64_t columns = x->shape[2];
    double total = 0;

    for (int64_t c = 0; c < columns; c++) {
        double sum = 0;

        for (int64_t r = 0; r < rows; r++) {
            int64_t at = (n * rows + r) * columns + c;

            sum += convert_get_f64(x, at) * (y != NULL ? convert_get_f64(y, at) : 1.0);
        }
        each[n * columns + c] = sum;
        total += sum * sum;
    }
    return total;
}

static void test_sums(void **state)
{
    static const int64_t shapes[][3] = {{1, 1, 1},   {3, 1, 100}, {2, 65, 64}, {4, 300, 7},
                                        {2, 3, 129}, {2, 0, 5},   {0, 2, 2}};
    spry_random random = spry_random_stream(7, 0);

    (void)state;
    for (size_t k = 0; k < 8 * sizeof shapes / sizeof *shapes; k++) {
        static double each[MOST_EACH];
        spry_dtype dtype = k % 2 == 0 ? SPRY_DTYPE_F32 : SPRY_DTYPE_F64;
        const int64_t *s = shapes[k / 8];
        double expected[8];
        op_harness h;
        tensor *x;
        tensor *y = NULL;

        op_harness_init(&h, "ai.spry", "SumSquares", 1);
        x = normal_input(&h, &random, dtype, s);
        if (k % 4 >= 2) {
            y = normal_input(&h, &random, dtype, s);
        }
        for (int64_t n = 0; n < s[0]; n++) {
            expected[n] = square_sum(x, y, n, each);
        }
        op_harness_run(&h, k % 8 < 4 ? 1 : 2);
        assert_squares(&h, dtype, expected, s[0]);
        if (k % 8 >= 4) {
            assert_each(&h, dtype, each);
        }
        op_harness_fini(&h);
    }
}

static void test_weighted(void **state)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {5, 3, 7}, {3, 100, 97}, {0, 2, 3}, {2, 0, 3}};
    spry_random random = spry_random_stream(8, 0);

    (void)state;
    for (size_t k = 0; k < 2 * sizeof shapes / sizeof *shapes; k++) {
        spry_dtype dtype = k % 2 == 0 ? SPRY_DTYPE_F32 : SPRY_DTYPE_F64;
        const int64_t *s = shapes[k / 2];
        const double weights[] = {0.5, -2, 0, 1, 3};
        op_harness h;
        tensor *x;

        op_harness_init(&h, "ai.spry", "WeightedSum", 1);
        x = normal_input(&h, &random, dtype, s);
        op_harness_f64s(&h, dtype, 1, s, weights);
        op_harness_run(&h, 1);
        assert_int_equal(h.outputs[0].tensor.rank, 2);
        for (int64_t i = 0; i < s[1] * s[2]; i++) {
            double sum = 0;

            for (int64_t n = 0; n < s[0]; n++) {
                sum += weights[n] * convert_get_f64(x, n * s[1] * s[2] + i);
            }
            assert_true(fabs(convert_get_f64(&h.outputs[0].tensor, i) - sum) < 1e-5);
        }
        op_harness_fini(&h);
    }
}

/* x = (1, 2; 3, 4), dy = (1, 0; 0, 1): x^T dy = (1, 3; 2, 4), whose squares sum to 30. */
static void test_by_hand(void **state)
{
    const int64_t shape[] = {1, 2, 2};
    op_harness h;

    (void)state;
    op_harness_init(&h, "ai.spry", "ProductSquares", 1);
    op_harness_f32(&h, 3, shape, (float[]){1, 2, 3, 4});
    op_harness_f32(&h, 3, shape, (float[]){1, 0, 0, 1});
    op_harness_run(&h, 1);
    assert_true(convert_get_f64(&h.outputs[0].tensor, 0) == 30.0);
    op_harness_fini(&h);
    op_harness_init(&h, "ai.spry", "SumSquares", 1); /* (4, 6) */
    op_harness_f32(&h, 3, shape, (float[]){1, 2, 3, 4});
    op_harness_run(&h, 1);
    assert_true(convert_get_f64(&h.outputs[0].tensor, 0) == 52.0);
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_sums),
                                       cmocka_unit_test(test_weighted),
                                       cmocka_unit_test(test_by_hand)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
