/* Reductions, extremes' places, running sums, softmax and TopK against loops over coordinates. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 25 };

static const char *const names[] = {
    "ReduceSum", "ReduceMean", "ReduceMax",    "ReduceMin",       "ReduceProd",
    "ReduceL1",  "ReduceL2",   "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"};

/* The definition, over `n` numbers. */
static double reduced(const char *name, const double *x, int64_t n)
{
    double sum = 0;
    double most = -INFINITY;
    double least = INFINITY;
    double product = 1;
    double absolute = 0;
    double squares = 0;
    double exponentials = 0;

    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
        most = x[i] > most ? x[i] : most;
        least = x[i] < least ? x[i] : least;
        product *= x[i];
        absolute += fabs(x[i]);
        squares += x[i] * x[i];
        exponentials += exp(x[i]);
    }
    return strcmp(name, "ReduceSum") == 0         ? sum
           : strcmp(name, "ReduceMean") == 0      ? sum / (double)n
           : strcmp(name, "ReduceMax") == 0       ? most
           : strcmp(name, "ReduceMin") == 0       ? least
           : strcmp(name, "ReduceProd") == 0      ? product
           : strcmp(name, "ReduceL1") == 0        ? absolute
           : strcmp(name, "ReduceL2") == 0        ? sqrt(squares)
           : strcmp(name, "ReduceLogSum") == 0    ? log(sum)
           : strcmp(name, "ReduceLogSumExp") == 0 ? log(exponentials)
                                                  : squares;
}

/* Result element that input element `index` belongs to, given the axes that go. */
static int64_t result_of(const tensor *x, const bool *gone, int64_t index)
{
    int64_t result = 0;
    int64_t step = 1;

    for (int d = x->rank - 1; d >= 0; d--) {
        if (!gone[d]) {
            result += index % x->shape[d] * step;
            step *= x->shape[d];
        }
        index /= x->shape[d];
    }
    return result;
}

static void check_reduction(const op_harness *h, const char *name, const bool *gone, double unit)
{
    const tensor *x = &h->inputs[0].tensor;
    const tensor *out = op_harness_output(h, 0);

    for (int64_t k = 0; k < tensor_count(out); k++) {
        static double members[200000];
        int64_t n = 0;
        double expected;
        double actual = convert_get_f64(out, k);

        for (int64_t i = 0; i < tensor_count(x); i++) {
            if (result_of(x, gone, i) == k) {
                members[n++] = convert_get_f64(x, i);
            }
        }
        expected = reduced(name, members, n);
        if (n > 0) { /* as the type holds it */
            tensor held;
            char bits[8];
            int64_t integer = fabs(expected) < 1e18 ? (int64_t)expected : 0;

            assert_int_equal(tensor_init(&held, out->dtype, 0, NULL, bits, NULL), SPRY_OK);
            if (dtype_class_of(out->dtype) == DTYPE_CLASS_FLOAT) {
                convert_write_f64(&held, 0, 1, &expected);
            } else {
                convert_write_i64(&held, 0, 1, &integer);
            }
            expected = convert_get_f64(&held, 0);
        } else if (dtype_class_of(out->dtype) != DTYPE_CLASS_FLOAT) {
            continue; /* the extremes of no integers are the type's limits */
        }
        if (!(fabs(actual - expected) <= unit * (1 + fabs(expected))) && actual != expected &&
            !(isnan(actual) && isnan(expected))) {
            fail_msg("%s %s of %lld: %.9g, expected %.9g", name, spry_dtype_name(out->dtype),
                     (long long)n, actual, expected);
        }
    }
}

static void reduce_once(const char *name, spry_dtype dtype, bool axes_input, int round)
{
    op_harness h;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    bool gone[SPRY_TENSOR_MAX_RANK] = {false};
    int64_t count = 0;
    int rank;
    double unit = dtype == SPRY_DTYPE_F64    ? 1e-12
                  : dtype == SPRY_DTYPE_F16  ? 2e-3
                  : dtype == SPRY_DTYPE_BF16 ? 1e-2
                                             : 1e-6;

    op_harness_init(&h, "", name, axes_input ? 18 : 12);
    h.state = (uint64_t)round * 31 + dtype;
    rank = op_harness_shape(&h, 5, shape);
    (void)op_harness_any(&h, dtype, rank, shape, false);
    for (int d = 0; d < rank; d++) {
        if (op_harness_next(&h, 2) == 0) {
            gone[d] = true;
            axes[count++] = op_harness_next(&h, 2) == 0 ? d : d - rank;
        }
    }
    for (int d = 0; count == 0 && d < rank; d++) {
        gone[d] = true; /* no axes: all of them */
    }
    op_harness_int(&h, "keepdims", op_harness_next(&h, 2));
    if (axes_input && (count > 0 || op_harness_next(&h, 2) == 0)) {
        (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &count, axes);
    } else if (count > 0) {
        op_harness_ints(&h, "axes", count, axes);
    }
    op_harness_run(&h, 1);
    check_reduction(&h, name, gone, unit);
    op_harness_fini(&h);
}

static void reduces_every_type_and_shape(void **state)
{
    static const spry_dtype dtypes[] = {SPRY_DTYPE_F32,  SPRY_DTYPE_F64, SPRY_DTYPE_F16,
                                        SPRY_DTYPE_BF16, SPRY_DTYPE_I32, SPRY_DTYPE_I64,
                                        SPRY_DTYPE_U8};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++) {
            bool exact = strstr(names[i], "Log") == NULL && strstr(names[i], "L2") == NULL &&
                         strstr(names[i], "Prod") == NULL && strstr(names[i], "Mean") == NULL;

            for (int round = 0; round < ROUNDS && (exact || t < 4); round++) {
                reduce_once(names[i], dtypes[t], strcmp(names[i], "ReduceSum") == 0 || round % 2,
                            round);
            }
        }
    }
}

static void no_axes_may_mean_no_reduction(void **state)
{
    int64_t shape[] = {2, 2};
    int64_t none = 0;
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "ReduceSumSquare", 18);
    op_harness_int(&h, "noop_with_empty_axes", 1);
    (void)op_harness_f32(&h, 2, shape, (float[]){1, 2, 3, -4});
    (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &none, &none);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F32, 2, shape);
    op_harness_expect_f64(&h, 0, (double[]){1, 4, 9, 16}, 0);
    op_harness_fini(&h);
}

static void empty_sets_have_neutral_results(void **state)
{
    static const double neutral[] = {0, NAN, -INFINITY, INFINITY, 1, 0, 0, -INFINITY, -INFINITY, 0};
    int64_t shape[] = {2, 0};
    int64_t one = 1;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        op_harness h;

        op_harness_init(&h, "", names[i], 20);
        (void)op_harness_any(&h, SPRY_DTYPE_F32, 2, shape, false);
        (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &one, &one);
        op_harness_run(&h, 1);
        op_harness_expect_f64(&h, 0, (double[]){neutral[i], neutral[i]}, 0);
        op_harness_fini(&h);
    }
}

static void extremes_of_bools_and_large_naturals(void **state)
{
    int64_t shape[] = {3};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "ReduceMin", 20);
    (void)op_harness_i64s(&h, SPRY_DTYPE_BOOL, 1, shape, (int64_t[]){1, 0, 1});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){0});
    op_harness_fini(&h);

    op_harness_init(&h, "", "ReduceMax", 20);
    (void)op_harness_i64s(&h, SPRY_DTYPE_U64, 1, shape, (int64_t[]){1, -7, 3});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){-7});
    op_harness_fini(&h);
}

static void finds_where_extremes_are(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS * 4; round++) {
        op_harness h;
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        bool smallest = round % 2 != 0;
        bool last = round / 2 % 2 != 0;
        const tensor *x;
        int rank;
        int axis;
        int64_t inner;

        op_harness_init(&h, "", smallest ? "ArgMin" : "ArgMax", 13);
        h.state = (uint64_t)round;
        do {
            rank = op_harness_shape(&h, 4, shape);
        } while (rank == 0);
        axis = (int)op_harness_next(&h, rank);
        shape[axis] = shape[axis] == 0 ? 3 : shape[axis];
        op_harness_int(&h, "axis", axis);
        op_harness_int(&h, "keepdims", round / 4 % 2);
        op_harness_int(&h, "select_last_index", last);
        x = op_harness_any(&h, round % 3 != 0 ? SPRY_DTYPE_F32 : SPRY_DTYPE_I8, rank, shape, false);
        op_harness_run(&h, 1);
        inner = tensor_span(x, axis + 1, rank);
        for (int64_t k = 0; k < tensor_count(op_harness_output(&h, 0)); k++) {
            int64_t start = k / inner * shape[axis] * inner + k % inner;
            int64_t best = 0;

            for (int64_t i = 1; i < shape[axis]; i++) {
                double a = convert_get_f64(x, start + i * inner) * (smallest ? -1 : 1);
                double b = convert_get_f64(x, start + best * inner) * (smallest ? -1 : 1);

                best = a > b || (a == b && last) ? i : best;
            }
            assert_int_equal(op_harness_i64_at(&h, 0, k), best);
        }
        op_harness_fini(&h);
    }
}

static void sums_run_both_ways(void **state)
{
    int64_t shape[] = {2, 3};
    float data[] = {1, 2, 3, 4, 5, 6};
    int64_t axis = -1;
    double expected[2][2][6] = {{{1, 3, 6, 4, 9, 15}, {6, 5, 3, 15, 11, 6}},
                                {{0, 1, 3, 0, 4, 9}, {5, 3, 0, 11, 6, 0}}};

    (void)state;
    for (int form = 0; form < 8; form++) {
        spry_dtype dtype = form < 4 ? SPRY_DTYPE_F32 : SPRY_DTYPE_I32;
        op_harness h;

        op_harness_init(&h, "", "CumSum", 14);
        op_harness_int(&h, "exclusive", form & 1);
        op_harness_int(&h, "reverse", form >> 1 & 1);
        convert_write_f32(op_harness_input(&h, dtype, 2, shape), 0, 6, data);
        (void)op_harness_i64s(&h, SPRY_DTYPE_I32, 0, NULL, &axis);
        op_harness_run(&h, 1);
        op_harness_expect_f64(&h, 0, expected[form & 1][form >> 1 & 1], 0);
        op_harness_fini(&h);
    }
    for (int form = 0; form < 2; form++) { /* long lines along a middle axis */
        int64_t tall[] = {2, 1500, 3};
        int64_t middle = 1;
        const tensor *x;
        op_harness h;

        op_harness_init(&h, "", "CumSum", 11);
        x = op_harness_any(&h, form == 0 ? SPRY_DTYPE_F64 : SPRY_DTYPE_I64, 3, tall, false);
        (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 0, NULL, &middle);
        op_harness_run(&h, 1);
        for (int64_t line = 0; line < 6; line++) {
            double sum = 0;

            for (int64_t i = 0; i < 1500; i++) {
                int64_t at = line / 3 * 4500 + i * 3 + line % 3;

                sum += convert_get_f64(x, at);
                assert_true(op_harness_f64_at(&h, 0, at) == sum);
            }
        }
        op_harness_fini(&h);
    }
}

/* Softmax and its kin over lines [outer, length, inner]. */
static void check_softmax(const op_harness *h, int64_t outer, int64_t length, int64_t inner)
{
    const tensor *x = &h->inputs[0].tensor;
    const char *name = h->node.type;
    double unit = x->dtype == SPRY_DTYPE_F16 ? 2e-3 : 1e-6;

    for (int64_t line = 0; line < outer * inner; line++) {
        int64_t start = line / inner * length * inner + line % inner;
        double sum = 0;
        double norm = 0;
        int64_t first = 0;

        for (int64_t i = 0; i < length; i++) {
            double one = convert_get_f64(x, start + i * inner);

            sum += exp(one);
            norm += one * one;
            first = one > convert_get_f64(x, start + first * inner) ? i : first;
        }
        for (int64_t i = 0; i < length; i++) {
            double one = convert_get_f64(x, start + i * inner);
            double expected = strcmp(name, "Softmax") == 0      ? exp(one) / sum
                              : strcmp(name, "LogSoftmax") == 0 ? one - log(sum)
                              : strcmp(name, "Hardmax") == 0    ? i == first
                                                                : one / (norm > 0 ? sqrt(norm) : 1);

            assert_true(fabs(op_harness_f64_at(h, 0, start + i * inner) - expected) <=
                        unit * (1 + fabs(expected)));
        }
    }
}

static void softmax_follows_its_opset(void **state)
{
    static const char *const lines[] = {"Softmax", "LogSoftmax", "Hardmax", "LpNormalization"};

    (void)state;
    for (int round = 0; round < ROUNDS * 8; round++) {
        const char *name = lines[round % 4];
        bool old = round / 4 % 2 != 0 && round % 4 != 3;
        bool given = round / 8 % 2 != 0;
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        const tensor *x;
        op_harness h;
        int rank;
        int axis;

        op_harness_init(&h, "", name, old ? 11 : 13);
        h.state = (uint64_t)round;
        do {
            rank = op_harness_shape(&h, 4, shape);
        } while (rank == 0);
        axis = given ? (int)op_harness_next(&h, rank) : old ? 1 : rank - 1;
        if (given) {
            op_harness_int(&h, "axis", axis);
        }
        x = op_harness_any(&h, round % 3 == 0 ? SPRY_DTYPE_F16 : SPRY_DTYPE_F32, rank, shape,
                           false);
        op_harness_run(&h, 1);
        if (tensor_count(x) > 0) {
            check_softmax(&h, tensor_span(x, 0, axis),
                          old ? tensor_span(x, axis, rank) : shape[axis],
                          old ? 1 : tensor_span(x, axis + 1, rank));
        }
        op_harness_fini(&h);
    }
}

static void softmax_survives_large_numbers(void **state)
{
    int64_t shape[] = {3};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Softmax", 13);
    (void)op_harness_f32(&h, 1, shape, (float[]){1e30f, 1e30f, -INFINITY});
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){0.5, 0.5, 0}, 1e-7);
    op_harness_fini(&h);
}

static void check_top(const op_harness *h, int axis, int64_t k, bool smallest)
{
    const tensor *x = &h->inputs[0].tensor;
    int64_t length = x->shape[axis];
    int64_t inner = tensor_span(x, axis + 1, x->rank);

    for (int64_t line = 0; line < tensor_span(x, 0, axis) * inner; line++) {
        int64_t start = line / inner * length * inner + line % inner;
        int64_t to = line / inner * k * inner + line % inner;
        bool taken[64] = {false};

        for (int64_t i = 0; i < k; i++) {
            int64_t best = -1;

            for (int64_t j = 0; j < length; j++) {
                double a = convert_get_f64(x, start + j * inner) * (smallest ? -1 : 1);
                double b = best < 0 ? 0 : convert_get_f64(x, start + best * inner);

                b *= smallest ? -1 : 1;
                best = !taken[j] && (best < 0 || a > b) ? j : best;
            }
            taken[best] = true;
            assert_int_equal(op_harness_i64_at(h, 1, to + i * inner), best);
            assert_true(op_harness_f64_at(h, 0, to + i * inner) ==
                        convert_get_f64(x, start + best * inner));
        }
    }
}

static void selects_the_top_in_order(void **state)
{
    static const int opsets[] = {9, 10, 11, 24};
    static const spry_dtype dtypes[] = {SPRY_DTYPE_F32, SPRY_DTYPE_I64, SPRY_DTYPE_U8,
                                        SPRY_DTYPE_F16};

    (void)state;
    for (int round = 0; round < ROUNDS * 6; round++) {
        int opset = opsets[round % 4];
        bool smallest = opset >= 11 && round / 4 % 2 != 0;
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        op_harness h;
        int rank;
        int axis;
        int64_t k;
        int64_t one = 1;

        op_harness_init(&h, "", "TopK", opset);
        h.state = (uint64_t)round;
        do {
            rank = op_harness_shape(&h, 3, shape);
        } while (rank == 0);
        axis = (int)op_harness_next(&h, rank);
        k = op_harness_next(&h, shape[axis] + 1);
        op_harness_int(&h, "axis", axis - rank);
        (void)op_harness_any(&h, opset == 9 ? SPRY_DTYPE_F32 : dtypes[round / 4 % 4], rank, shape,
                             false);
        if (opset == 9) {
            op_harness_int(&h, "k", k);
        } else {
            (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &one, &k);
        }
        op_harness_int(&h, "largest", !smallest);
        op_harness_run(&h, 2);
        check_top(&h, axis, k, smallest);
        op_harness_fini(&h);
    }
}

static void nan_is_above_everything(void **state)
{
    int64_t shape[] = {4};
    int64_t one = 1;
    int64_t k = 2;

    (void)state;
    for (int largest = 0; largest < 2; largest++) {
        op_harness h;

        op_harness_init(&h, "", "TopK", 11);
        op_harness_int(&h, "largest", largest);
        (void)op_harness_f32(&h, 1, shape, (float[]){1, NAN, INFINITY, -2});
        (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &one, &k);
        op_harness_run(&h, 2);
        op_harness_expect_i64(&h, 1, largest ? (int64_t[]){1, 2} : (int64_t[]){3, 0});
        op_harness_fini(&h);
    }
}

static void refuses_axes_and_counts_out_of_range(void **state)
{
    int64_t shape[] = {4};
    int64_t one = 1;
    int64_t k = 5;
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "TopK", 11);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, shape, false);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, &one, &k);
    assert_int_equal(op_harness_try(&h, 2), SPRY_BAD_INPUT);
    op_harness_fini(&h);

    op_harness_init(&h, "", "ReduceMax", 13);
    op_harness_ints(&h, "axes", 1, &one);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, shape, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Softmax", 13);
    op_harness_int(&h, "axis", 1);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, shape, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reduces_every_type_and_shape),
        cmocka_unit_test(no_axes_may_mean_no_reduction),
        cmocka_unit_test(empty_sets_have_neutral_results),
        cmocka_unit_test(extremes_of_bools_and_large_naturals),
        cmocka_unit_test(finds_where_extremes_are),
        cmocka_unit_test(sums_run_both_ways),
        cmocka_unit_test(softmax_follows_its_opset),
        cmocka_unit_test(softmax_survives_large_numbers),
        cmocka_unit_test(selects_the_top_in_order),
        cmocka_unit_test(nan_is_above_everything),
        cmocka_unit_test(refuses_axes_and_counts_out_of_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
