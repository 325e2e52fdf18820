/* Matrix products against triple loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 80, MOST = 60000 };

static const spry_dtype product_types[] = {SPRY_DTYPE_F32, SPRY_DTYPE_F64,  SPRY_DTYPE_F16,
                                           SPRY_DTYPE_I32, SPRY_DTYPE_I64,  SPRY_DTYPE_U32,
                                           SPRY_DTYPE_U64, SPRY_DTYPE_BF16, SPRY_DTYPE_F32};

static int64_t draw_size(op_harness *h)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 13, 17, 31, 37, 0};

    return sizes[op_harness_next(h, 10)];
}

static double tolerance_of(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_BF16 ? 1e-2 : dtype == SPRY_DTYPE_F16 ? 2e-3 : 1e-5;
}

/* Offset of the matrix of `t` for product number `batch` of a result with batch axes `shape`. */
static int64_t matrix_of(const tensor *t, const int64_t *shape, int axes, int64_t batch)
{
    int64_t offset = 0;
    int64_t step = t->shape[t->rank - 1] * t->shape[t->rank - 2];

    for (int d = axes - 1; d >= 0; d--) {
        int own = d - (axes - (t->rank - 2));

        if (own >= 0) {
            offset += t->shape[own] == 1 ? 0 : batch % shape[d] * step;
            step *= t->shape[own];
        }
        batch /= shape[d];
    }
    return offset;
}

static void test_matmul(void **state)
{
    static double expected[MOST];

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        spry_dtype dtype = product_types[round % 9];
        int axes = round % 3;
        int64_t a_shape[5];
        int64_t b_shape[5];
        int64_t shape[5];
        int64_t m;
        int64_t n;
        int64_t k;
        op_harness h;

        op_harness_init(&h, "", "MatMul", 13);
        h.state = (uint64_t)round;
        m = draw_size(&h);
        n = draw_size(&h);
        k = draw_size(&h);
        for (int d = 0; d < axes; d++) {
            shape[d] = 1 + op_harness_next(&h, 3);
            a_shape[d] = op_harness_next(&h, 3) == 0 ? 1 : shape[d];
            b_shape[d] = a_shape[d] != shape[d]        ? shape[d]
                         : op_harness_next(&h, 3) == 0 ? 1
                                                       : shape[d];
        }
        a_shape[axes] = shape[axes] = m;
        a_shape[axes + 1] = b_shape[axes] = k;
        b_shape[axes + 1] = shape[axes + 1] = n;
        op_harness_any(&h, dtype, axes + 2, a_shape, false);
        op_harness_any(&h, dtype, axes + 2, b_shape, false);
        op_harness_run(&h, 1);
        op_harness_expect(&h, 0, dtype, axes + 2, shape);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            int64_t a = matrix_of(&h.inputs[0].tensor, shape, axes, i / (m * n)) + i / n % m * k;
            int64_t b = matrix_of(&h.inputs[1].tensor, shape, axes, i / (m * n)) + i % n;

            expected[i] = 0.0;
            for (int64_t j = 0; j < k; j++) {
                expected[i] += convert_get_f64(&h.inputs[0].tensor, a + j) *
                               convert_get_f64(&h.inputs[1].tensor, b + j * n);
            }
        }
        op_harness_expect_f64(&h, 0, expected, tolerance_of(dtype));
        op_harness_fini(&h);
    }
}

static void test_vectors(void **state)
{
    const float a[] = {1, 2, 3};
    const float b[] = {1, 0, 2, 1, 3, 0};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "MatMul", 9);
    op_harness_f32(&h, 1, (int64_t[]){3}, a);
    op_harness_f32(&h, 1, (int64_t[]){3}, a);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F32, 0, NULL);
    op_harness_expect_f64(&h, 0, (const double[]){14}, 0);
    op_harness_fini(&h);

    op_harness_init(&h, "", "MatMul", 9);
    op_harness_f32(&h, 1, (int64_t[]){3}, a);
    op_harness_f32(&h, 2, (int64_t[]){3, 2}, b);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F32, 1, (int64_t[]){2});
    op_harness_expect_f64(&h, 0, (const double[]){14, 2}, 0);
    op_harness_fini(&h);

    op_harness_init(&h, "", "MatMul", 9);
    op_harness_f32(&h, 2, (int64_t[]){2, 3}, b);
    op_harness_f32(&h, 1, (int64_t[]){3}, a);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F32, 1, (int64_t[]){2});
    op_harness_expect_f64(&h, 0, (const double[]){7, 7}, 0);
    op_harness_fini(&h);
}

/* C of shape (m, n), (1, n), (m, 1), (n), () or none. */
static void draw_bias(op_harness *h, spry_dtype dtype, int form, int64_t m, int64_t n)
{
    int64_t shapes[5][2] = {{m, n}, {1, n}, {m, 1}, {n, 0}, {0, 0}};
    int ranks[5] = {2, 2, 2, 1, 0};

    if (form < 5) {
        op_harness_any(h, dtype, ranks[form], shapes[form], false);
    }
}

static void test_gemm(void **state)
{
    static double expected[MOST];

    (void)state;
    for (int round = 0; round < 2 * ROUNDS; round++) {
        spry_dtype dtype = product_types[round % 9];
        bool turn_a = round % 2 == 1;
        bool turn_b = round / 2 % 2 == 1;
        float alpha = round % 5 == 0 ? 0.5f : 1.0f;
        float beta = round % 7 == 0 ? 2.0f : 1.0f;
        int64_t m;
        int64_t n;
        int64_t k;
        op_harness h;

        op_harness_init(&h, "", "Gemm", 13);
        h.state = (uint64_t)round;
        m = draw_size(&h);
        n = draw_size(&h);
        k = draw_size(&h);
        alpha = dtype_class_of(dtype) == DTYPE_CLASS_FLOAT ? alpha : 2.0f;
        op_harness_int(&h, "transA", turn_a);
        op_harness_int(&h, "transB", turn_b);
        op_harness_float(&h, "alpha", alpha);
        op_harness_float(&h, "beta", beta);
        op_harness_any(&h, dtype, 2, turn_a ? (int64_t[]){k, m} : (int64_t[]){m, k}, false);
        op_harness_any(&h, dtype, 2, turn_b ? (int64_t[]){n, k} : (int64_t[]){k, n}, false);
        draw_bias(&h, dtype, round % 6, m, n);
        op_harness_run(&h, 1);
        op_harness_expect(&h, 0, dtype, 2, (int64_t[]){m, n});
        for (int64_t i = 0; i < m * n; i++) {
            int64_t row = i / n;
            int64_t column = i % n;

            expected[i] = 0.0;
            for (int64_t j = 0; j < k; j++) {
                expected[i] +=
                    convert_get_f64(&h.inputs[0].tensor, turn_a ? j * m + row : row * k + j) *
                    convert_get_f64(&h.inputs[1].tensor, turn_b ? column * k + j : j * n + column);
            }
            expected[i] *= (double)alpha;
            if (h.input_count > 2) {
                const tensor *c = &h.inputs[2].tensor;

                expected[i] +=
                    (double)beta *
                    convert_get_f64(c, op_harness_source(c, op_harness_output(&h, 0), i));
            }
        }
        op_harness_expect_f64(&h, 0, expected, tolerance_of(dtype));
        op_harness_fini(&h);
    }
}

static void test_matmul_integer(void **state)
{
    static int64_t expected[MOST];

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        spry_dtype a_type = round % 2 == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8;
        spry_dtype b_type = round / 2 % 2 == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8;
        bool per_row = round % 3 == 0;
        int64_t m;
        int64_t n;
        int64_t k;
        op_harness h;

        op_harness_init(&h, "", "MatMulInteger", 10);
        h.state = (uint64_t)round;
        m = draw_size(&h);
        n = draw_size(&h);
        k = draw_size(&h);
        op_harness_any(&h, a_type, 2, (int64_t[]){m, k}, true);
        op_harness_any(&h, b_type, 2, (int64_t[]){k, n}, true);
        op_harness_any(&h, a_type, per_row, &m, false);
        op_harness_any(&h, b_type, per_row, &n, false);
        op_harness_run(&h, 1);
        for (int64_t i = 0; i < m * n; i++) {
            int64_t za = convert_get_i64(&h.inputs[2].tensor, per_row ? i / n : 0);
            int64_t zb = convert_get_i64(&h.inputs[3].tensor, per_row ? i % n : 0);

            expected[i] = 0;
            for (int64_t j = 0; j < k; j++) {
                expected[i] += (convert_get_i64(&h.inputs[0].tensor, i / n * k + j) - za) *
                               (convert_get_i64(&h.inputs[1].tensor, j * n + i % n) - zb);
            }
        }
        op_harness_expect_i64(&h, 0, expected);
        op_harness_fini(&h);
    }
}

static spry_status try_matmul(int a_rank, const int64_t *a, int b_rank, const int64_t *b)
{
    op_harness h;
    spry_status status;

    op_harness_init(&h, "", "MatMul", 13);
    op_harness_any(&h, SPRY_DTYPE_F32, a_rank, a, false);
    op_harness_any(&h, SPRY_DTYPE_F32, b_rank, b, false);
    h.hide_constants = true;
    status = op_harness_try(&h, 1);
    op_harness_fini(&h);
    return status;
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(try_matmul(2, (int64_t[]){2, 3}, 2, (int64_t[]){3, 2}), SPRY_OK);
    assert_int_equal(try_matmul(2, (int64_t[]){2, 3}, 2, (int64_t[]){2, 3}), SPRY_BAD_INPUT);
    assert_int_equal(try_matmul(0, NULL, 2, (int64_t[]){2, 3}), SPRY_BAD_INPUT);
    assert_int_equal(try_matmul(3, (int64_t[]){2, 2, 3}, 3, (int64_t[]){3, 3, 2}), SPRY_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul),   cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_gemm),     cmocka_unit_test(test_matmul_integer),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
