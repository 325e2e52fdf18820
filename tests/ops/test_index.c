/* Operators that read or write by index, against naive loops; and indices that do not exist. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 60 };

static uint64_t state = 11;

static int64_t pick(int64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state % (uint64_t)below);
}

static int random_shape(int64_t *shape)
{
    int rank = 1 + (int)pick(5);

    for (int i = 0; i < rank; i++) {
        shape[i] = 1 + pick(5);
    }
    return rank;
}

static tensor *counting_input(op_harness *h, spry_dtype dtype, int rank, const int64_t *shape)
{
    tensor *t = op_harness_input(h, dtype, rank, shape);

    for (int64_t i = 0; i < tensor_count(t); i++) {
        convert_write_i64(t, i, 1, &i);
    }
    return t;
}

/* Random indices in [-dim, dim). */
static tensor *index_input(op_harness *h, int rank, const int64_t *shape, int64_t dim)
{
    tensor *t = op_harness_input(h, pick(2) == 0 ? SPRY_DTYPE_I32 : SPRY_DTYPE_I64, rank, shape);

    for (int64_t i = 0; i < tensor_count(t); i++) {
        int64_t index = pick(2 * dim) - dim;

        convert_write_i64(t, i, 1, &index);
    }
    return t;
}

static int64_t wrap(int64_t index, int64_t dim)
{
    return index < 0 ? index + dim : index;
}

static void test_gather(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness h;
        int64_t shape[8];
        const int64_t index_shape[2] = {pick(4), 1 + pick(3)};
        int rank = random_shape(shape);
        int index_rank = (int)pick(3);
        int axis = (int)pick(rank);
        const tensor *x;
        const tensor *indices;
        int64_t inner;
        int64_t count;

        op_harness_init(&h, "", "Gather", 13);
        op_harness_int(&h, "axis", axis - rank);
        x = counting_input(&h, SPRY_DTYPE_F32, rank, shape);
        indices = index_input(&h, index_rank, index_shape, shape[axis]);
        op_harness_run(&h, 1);
        inner = tensor_span(x, axis + 1, rank);
        count = tensor_count(indices);
        for (int64_t o = 0; o < tensor_span(x, 0, axis); o++) {
            for (int64_t k = 0; k < count; k++) {
                int64_t from = wrap(convert_get_i64(indices, k), shape[axis]);

                for (int64_t i = 0; i < inner; i++) {
                    assert_int_equal(op_harness_i64_at(&h, 0, (o * count + k) * inner + i),
                                     (o * shape[axis] + from) * inner + i);
                }
            }
        }
        op_harness_fini(&h);
    }
}

/* GatherElements and ScatterElements visit the same places. */
static void test_elements(void **unused)
{
    static const char *const rules[] = {"none", "add", "mul", "min", "max"};

    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness gather;
        op_harness scatter;
        int64_t shape[8];
        int64_t index_shape[8];
        int rank = random_shape(shape);
        int axis = (int)pick(rank);
        int rule = (int)pick(5);
        spry_dtype dtype = pick(2) == 0 ? SPRY_DTYPE_F32 : SPRY_DTYPE_I64;
        double expected[3200];
        const tensor *x;
        const tensor *indices;
        tensor *copy;
        tensor *updates;

        for (int i = 0; i < rank; i++) {
            index_shape[i] = 1 + pick(shape[i]);
        }
        op_harness_init(&gather, "", "GatherElements", 13);
        op_harness_int(&gather, "axis", axis);
        x = counting_input(&gather, dtype, rank, shape);
        indices = index_input(&gather, rank, index_shape, shape[axis]);
        op_harness_run(&gather, 1);

        op_harness_init(&scatter, "", "ScatterElements", 18);
        op_harness_int(&scatter, "axis", axis);
        op_harness_string(&scatter, "reduction", rules[rule]);
        counting_input(&scatter, dtype, rank, shape);
        copy = op_harness_input(&scatter, indices->dtype, rank, index_shape);
        memcpy(copy->data, indices->data, indices->bytes);
        updates = counting_input(&scatter, dtype, rank, index_shape);
        for (int64_t i = 0; i < tensor_count(x); i++) {
            expected[i] = (double)i;
        }
        for (int64_t i = 0; i < tensor_count(indices); i++) {
            int64_t rest = i;
            int64_t place = 0;
            int64_t step = 1;
            double new = convert_get_f64(updates, i);

            for (int k = rank - 1; k >= 0; k--) {
                int64_t at = k == axis ? wrap(convert_get_i64(indices, i), shape[axis])
                                       : rest % index_shape[k];

                place += at * step;
                step *= shape[k];
                rest /= index_shape[k];
            }
            assert_int_equal(op_harness_i64_at(&gather, 0, i), place);
            expected[place] = rule == 0   ? new
                              : rule == 1 ? expected[place] + new
                              : rule == 2 ? expected[place] * new
                              : rule == 3 ? fmin(expected[place], new)
                                          : fmax(expected[place], new);
        }
        op_harness_run(&scatter, 1);
        op_harness_expect_f64(&scatter, 0, expected, 1e-6);
        op_harness_fini(&gather);
        op_harness_fini(&scatter);
    }
}

static void test_tuples(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness gather;
        op_harness scatter;
        int64_t shape[8];
        int64_t index_shape[2];
        int64_t update_shape[8];
        int rank = random_shape(shape);
        int64_t tuple = 1 + pick(rank);
        int64_t block;
        const tensor *x;
        tensor *indices;
        const tensor *y;

        index_shape[0] = pick(4);
        index_shape[1] = tuple;
        op_harness_init(&gather, "", "GatherND", 13);
        x = counting_input(&gather, SPRY_DTYPE_F64, rank, shape);
        indices = op_harness_input(&gather, SPRY_DTYPE_I64, 2, index_shape);
        for (int64_t i = 0; i < tensor_count(indices); i++) {
            ((int64_t *)indices->data)[i] = pick(2 * shape[i % tuple]) - shape[i % tuple];
        }
        op_harness_run(&gather, 1);
        y = op_harness_output(&gather, 0);
        block = tensor_span(x, (int)tuple, rank);
        for (int64_t i = 0; i < tensor_count(y); i++) {
            int64_t at = 0;

            for (int64_t k = 0; k < tuple; k++) {
                at =
                    at * shape[k] + wrap(convert_get_i64(indices, i / block * tuple + k), shape[k]);
            }
            assert_int_equal(convert_get_i64(y, i), at * block + i % block);
        }
        /* What was gathered, scattered back where it was, changes nothing. */
        op_harness_init(&scatter, "", "ScatterND", 16);
        counting_input(&scatter, SPRY_DTYPE_F64, rank, shape);
        memcpy(op_harness_input(&scatter, SPRY_DTYPE_I64, 2, index_shape)->data, indices->data,
               indices->bytes);
        update_shape[0] = index_shape[0];
        memcpy(update_shape + 1, shape + tuple, (size_t)(rank - tuple) * sizeof *shape);
        memcpy(
            op_harness_input(&scatter, SPRY_DTYPE_F64, 1 + rank - (int)tuple, update_shape)->data,
            y->data, y->bytes);
        op_harness_run(&scatter, 1);
        assert_memory_equal(op_harness_output(&scatter, 0)->data, x->data, x->bytes);
        op_harness_fini(&gather);
        op_harness_fini(&scatter);
    }
}

static void test_unique(void **unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        op_harness h;
        const int64_t shape[2] = {1 + pick(5), pick(30)};
        bool sorted = pick(2) == 0;
        tensor *x;
        const tensor *y;
        int64_t total = 0;

        op_harness_init(&h, "", "Unique", 11);
        op_harness_int(&h, "sorted", sorted);
        x = op_harness_input(&h, pick(2) == 0 ? SPRY_DTYPE_F32 : SPRY_DTYPE_I8, 2, shape);
        for (int64_t i = 0; i < tensor_count(x); i++) {
            int64_t number = pick(9) - 4;

            convert_write_i64(x, i, 1, &number);
        }
        op_harness_run(&h, 4);
        y = op_harness_output(&h, 0);
        for (int64_t i = 0; i < tensor_count(y); i++) {
            int64_t first = op_harness_i64_at(&h, 1, i);

            assert_int_equal(convert_get_i64(x, first), convert_get_i64(y, i));
            if (i > 0) {
                assert_true(sorted ? convert_get_i64(y, i) > convert_get_i64(y, i - 1)
                                   : first > op_harness_i64_at(&h, 1, i - 1));
            }
            for (int64_t k = 0; k < first; k++) {
                assert_int_not_equal(convert_get_i64(x, k), convert_get_i64(y, i));
            }
            total += op_harness_i64_at(&h, 3, i);
        }
        assert_int_equal(total, tensor_count(x));
        for (int64_t i = 0; i < tensor_count(x); i++) {
            assert_int_equal(convert_get_i64(y, op_harness_i64_at(&h, 2, i)),
                             convert_get_i64(x, i));
        }
        op_harness_fini(&h);
    }
}

static void test_non_zero_and_one_hot(void **unused)
{
    const double numbers[6] = {0, 2, 0, -1, 0, 3};
    const int64_t shape[2] = {2, 3};
    const int64_t places[6] = {0, 1, 1, 1, 0, 2};
    const int64_t ids[3] = {1, -1, 7};
    const int64_t depth = 3;
    const double values[2] = {5, 9};
    const double hot[9] = {5, 9, 5, 5, 5, 9, 5, 5, 5};
    const int64_t two = 2;
    const int64_t three = 3;
    op_harness h;

    (void)unused;
    op_harness_init(&h, "", "NonZero", 13);
    op_harness_f64s(&h, SPRY_DTYPE_F16, 2, shape, numbers);
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, places);
    op_harness_fini(&h);

    op_harness_init(&h, "", "OneHot", 11);
    op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &three, ids);
    op_harness_i64s(&h, SPRY_DTYPE_I64, 0, NULL, &depth);
    op_harness_f64s(&h, SPRY_DTYPE_F32, 1, &two, values);
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, hot, 0);
    op_harness_fini(&h);
}

/* An index out of range is refused, and the message names it. */
static void test_missing_index(void **unused)
{
    static const struct {
        const char *name;
        int64_t index;
    } cases[] = {{"Gather", 2},   {"Gather", -3},         {"GatherElements", 5},
                 {"GatherND", 7}, {"ScatterElements", 2}, {"ScatterND", INT64_MIN}};
    const int64_t shape[2] = {2, 3};
    const int64_t ones[2] = {1, 1};
    const int64_t update[2] = {1, 3};

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_harness h;

        op_harness_init(&h, "", cases[i].name, 18);
        op_harness_input(&h, SPRY_DTYPE_F32, 2, shape);
        op_harness_i64s(&h, SPRY_DTYPE_I64, 2, ones, &cases[i].index);
        if (strncmp(cases[i].name, "Scatter", 7) == 0) {
            op_harness_input(&h, SPRY_DTYPE_F32, 2, cases[i].name[7] == 'N' ? update : ones);
        }
        assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
        assert_non_null(strstr(h.error.what, "index"));
        assert_non_null(strstr(h.error.where, cases[i].name));
        op_harness_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_tuples),
        cmocka_unit_test(test_unique),
        cmocka_unit_test(test_non_zero_and_one_hot),
        cmocka_unit_test(test_missing_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
