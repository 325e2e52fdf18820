/* Arithmetic, logic, comparison and choice against formulas applied index by index. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 12 };

typedef struct law {
    const char *name;
    int opset;
    uint32_t types;
    double (*f64)(double a, double b);
    int64_t (*i64)(int64_t a, int64_t b, bool is_unsigned);
    const char *attribute; /* with an integer value, or a text for BitShift */
    int64_t number;
    const char *text;
    bool variadic;
} law;

static double f_add(double a, double b)
{
    return a + b;
}
static double f_sub(double a, double b)
{
    return a - b;
}
static double f_mul(double a, double b)
{
    return a * b;
}
static double f_div(double a, double b)
{
    return a / b;
}
static double f_max(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}
static double f_min(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
}
static double f_mod(double a, double b)
{
    return fmod(a, b);
}
static double f_prelu(double a, double b)
{
    return a < 0 ? a * b : a;
}
static double f_pow(double a, double b)
{
    return pow(a, b);
}

static int64_t i_add(int64_t a, int64_t b, bool u)
{
    (void)u;
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static int64_t i_sub(int64_t a, int64_t b, bool u)
{
    (void)u;
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
static int64_t i_mul(int64_t a, int64_t b, bool u)
{
    (void)u;
    return (int64_t)((uint64_t)a * (uint64_t)b);
}
static int64_t i_div(int64_t a, int64_t b, bool u)
{
    if (b == 0) {
        return 0;
    }
    if (u) {
        return (int64_t)((uint64_t)a / (uint64_t)b);
    }
    return a == INT64_MIN && b == -1 ? a : a / b;
}
static int64_t i_max(int64_t a, int64_t b, bool u)
{
    return (u ? (uint64_t)a > (uint64_t)b : a > b) ? a : b;
}
static int64_t i_min(int64_t a, int64_t b, bool u)
{
    return (u ? (uint64_t)a < (uint64_t)b : a < b) ? a : b;
}
static int64_t i_mod(int64_t a, int64_t b, bool u)
{
    if (b == 0 || (!u && b == -1)) {
        return 0;
    }
    return u ? (int64_t)((uint64_t)a % (uint64_t)b) : a % b;
}
static int64_t i_python_mod(int64_t a, int64_t b, bool u)
{
    int64_t rest = i_mod(a, b, u);

    return !u && rest != 0 && (rest ^ b) < 0 ? rest + b : rest;
}
static int64_t i_prelu(int64_t a, int64_t b, bool u)
{
    return u || a >= 0 ? a : i_mul(a, b, u);
}
static int64_t i_and(int64_t a, int64_t b, bool u)
{
    (void)u;
    return a & b;
}
static int64_t i_or(int64_t a, int64_t b, bool u)
{
    (void)u;
    return a | b;
}
static int64_t i_xor(int64_t a, int64_t b, bool u)
{
    (void)u;
    return a ^ b;
}
static int64_t i_left(int64_t a, int64_t b, bool u)
{
    (void)u;
    return (uint64_t)b > 63 ? 0 : (int64_t)((uint64_t)a << b);
}
static int64_t i_right(int64_t a, int64_t b, bool u)
{
    (void)u;
    return (uint64_t)b > 63 ? 0 : (int64_t)((uint64_t)a >> b);
}

static const law laws[] = {
    {"Add", 7, OP_NUMERIC, f_add, i_add, NULL, 0, NULL, false},
    {"Add", 14, OP_NUMERIC, f_add, i_add, NULL, 0, NULL, false},
    {"Sub", 13, OP_NUMERIC, f_sub, i_sub, NULL, 0, NULL, false},
    {"Mul", 14, OP_NUMERIC, f_mul, i_mul, NULL, 0, NULL, false},
    {"Div", 14, OP_NUMERIC, f_div, i_div, NULL, 0, NULL, false},
    {"Mod", 13, OP_INTEGERS, NULL, i_python_mod, NULL, 0, NULL, false},
    {"Mod", 10, OP_NUMERIC, f_mod, i_mod, "fmod", 1, NULL, false},
    {"And", 7, OP_BOOL, NULL, i_and, NULL, 0, NULL, false},
    {"Or", 7, OP_BOOL, NULL, i_or, NULL, 0, NULL, false},
    {"Xor", 7, OP_BOOL, NULL, i_xor, NULL, 0, NULL, false},
    {"BitwiseAnd", 18, OP_INTEGERS, NULL, i_and, NULL, 0, NULL, false},
    {"BitwiseOr", 18, OP_INTEGERS, NULL, i_or, NULL, 0, NULL, false},
    {"BitwiseXor", 18, OP_INTEGERS, NULL, i_xor, NULL, 0, NULL, false},
    {"BitShift", 11, OP_UNSIGNED, NULL, i_left, "direction", 0, "LEFT", false},
    {"BitShift", 11, OP_UNSIGNED, NULL, i_right, "direction", 0, "RIGHT", false},
    {"PRelu", 16, OP_NUMERIC, f_prelu, i_prelu, NULL, 0, NULL, false},
    {"Pow", 15, OP_FLOATS, f_pow, NULL, NULL, 0, NULL, false},
    {"Max", 13, OP_NUMERIC, f_max, i_max, NULL, 0, NULL, true},
    {"Min", 13, OP_NUMERIC, f_min, i_min, NULL, 0, NULL, true},
    {"Sum", 13, OP_FLOATS, f_add, NULL, NULL, 0, NULL, true},
    {"Mean", 13, OP_FLOATS, f_add, NULL, NULL, 0, NULL, true},
};

static void check_element(const law *l, const op_harness *h, int64_t k)
{
    const tensor *out = op_harness_output(h, 0);
    bool is_float = dtype_class_of(out->dtype) == DTYPE_CLASS_FLOAT;
    bool is_unsigned = dtype_class_of(out->dtype) == DTYPE_CLASS_UNSIGNED;
    const tensor *first = &h->inputs[0].tensor;
    int64_t at = op_harness_source(first, out, k);
    double number = convert_get_f64(first, at);
    int64_t integer = convert_get_i64(first, at);
    double actual = convert_get_f64(out, k);
    tensor expected;
    char bytes[8];

    for (int i = 1; i < h->input_count; i++) {
        const tensor *next = &h->inputs[i].tensor;

        at = op_harness_source(next, out, k);
        if (is_float) {
            number = l->f64(number, convert_get_f64(next, at));
        } else {
            integer = l->i64(integer, convert_get_i64(next, at), is_unsigned);
        }
    }
    number = strcmp(l->name, "Mean") == 0 ? number / h->input_count : number;
    assert_int_equal(tensor_init(&expected, out->dtype, 0, NULL, bytes, NULL), SPRY_OK);
    if (is_float) {
        convert_write_f64(&expected, 0, 1, &number);
        number = convert_get_f64(&expected, 0);
        if (!(isnan(number) && isnan(actual)) && number != actual &&
            !(fabs(number - actual) <= 1e-6 * fabs(number))) {
            fail_msg("%s %s: %.9g, expected %.9g", l->name, spry_dtype_name(out->dtype), actual,
                     number);
        }
    } else {
        convert_write_i64(&expected, 0, 1, &integer);
        if (convert_get_i64(&expected, 0) != convert_get_i64(out, k)) {
            fail_msg("%s %s: %lld, expected %lld", l->name, spry_dtype_name(out->dtype),
                     (long long)convert_get_i64(out, k), (long long)convert_get_i64(&expected, 0));
        }
    }
}

static void check_law(const law *l, spry_dtype dtype, int round)
{
    op_harness h;
    int64_t full[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank;
    int count;

    op_harness_init(&h, "", l->name, l->opset);
    h.state = (uint64_t)round * 977 + dtype;
    rank = op_harness_shape(&h, 6, full);
    count = l->variadic ? 1 + (int)op_harness_next(&h, 4) : 2;
    for (int i = 0; i < count; i++) {
        bool whole = strcmp(l->name, "PRelu") == 0 && i == 0;
        int smaller = op_harness_smaller(&h, rank, full, shape);

        (void)op_harness_any(&h, dtype, whole ? rank : smaller, whole ? full : shape, true);
    }
    if (l->attribute != NULL && l->text != NULL) {
        op_harness_string(&h, l->attribute, l->text);
    } else if (l->attribute != NULL) {
        op_harness_int(&h, l->attribute, l->number);
    }
    op_harness_run(&h, 1);
    for (int64_t k = 0; k < tensor_count(op_harness_output(&h, 0)); k++) {
        check_element(l, &h, k);
    }
    op_harness_fini(&h);
}

static void follows_its_law_for_every_type_and_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        for (int dtype = 1; dtype < SPRY_DTYPE_COUNT; dtype++) {
            for (int round = 0; (laws[i].types >> dtype & 1) != 0 && round < ROUNDS; round++) {
                check_law(&laws[i], (spry_dtype)dtype, round);
            }
        }
    }
}

static void works_on_large_tensors_in_pieces(void **state)
{
    int64_t shape[] = {3, 17, 1001};
    int64_t column[] = {17, 1};

    (void)state;
    for (int form = 0; form < 3; form++) {
        op_harness h;
        const tensor *out;

        op_harness_init(&h, "", "Sub", 14);
        (void)op_harness_any(&h, SPRY_DTYPE_F32, 3, shape, false);
        (void)op_harness_any(&h, SPRY_DTYPE_F32, form, form == 2 ? column : shape + 2, false);
        op_harness_run(&h, 1);
        out = op_harness_output(&h, 0);
        for (int64_t k = 0; k < tensor_count(out); k++) {
            check_element(&laws[2], &h, k);
        }
        op_harness_fini(&h);
    }
}

static void integer_powers_wrap_and_truncate(void **state)
{
    int64_t base[] = {2, -2, 3, 0, 1, -1, 2, -1, 7};
    int64_t exponent[] = {10, 3, 40, 0, -5, -3, -1, -4, 0};
    int64_t expected[] = {1024, -8, 0, 1, 1, -1, 0, 1, 1};
    int64_t shape[] = {9};
    uint64_t cube = 1;
    op_harness h;

    (void)state;
    for (int i = 0; i < 40; i++) {
        cube *= 3;
    }
    expected[2] = (int64_t)cube;
    op_harness_init(&h, "", "Pow", 12);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, shape, base);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I32, 1, shape, exponent);
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, expected);
    op_harness_fini(&h);
}

static void powers_mix_types(void **state)
{
    int64_t shape[] = {3};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Pow", 13);
    (void)op_harness_f32(&h, 1, shape, (float[]){1.5f, -2.0f, 9.0f});
    (void)op_harness_i64s(&h, SPRY_DTYPE_U8, 1, shape, (int64_t[]){2, 3, 0});
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F32, 1, shape);
    op_harness_expect_f64(&h, 0, (double[]){2.25, -8.0, 1.0}, 0.0);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Pow", 13);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I32, 1, shape, (int64_t[]){4, 2, 9});
    (void)op_harness_f32(&h, 1, shape, (float[]){0.5f, 3.0f, 0.25f});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){2, 8, 1});
    op_harness_fini(&h);
}

static void refuses_what_does_not_fit(void **state)
{
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Add", 14);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, (int64_t[]){3}, false);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, (int64_t[]){4}, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Add", 6); /* `broadcast` and `axis` attributes of old */
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, (int64_t[]){3}, false);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, (int64_t[]){3}, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_UNSUPPORTED);
    op_harness_fini(&h);

    op_harness_init(&h, "", "BitShift", 11);
    op_harness_string(&h, "direction", "UP");
    (void)op_harness_any(&h, SPRY_DTYPE_U8, 1, (int64_t[]){3}, false);
    (void)op_harness_any(&h, SPRY_DTYPE_U8, 1, (int64_t[]){3}, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

static void shape_arithmetic_is_known_before_it_runs(void **state)
{
    static const char *const operators[] = {"Add", "Sub", "Mul", "Div", "Max", "Min"};
    static const int64_t expected[] = {9, 5, 14, 3, 7, 2};
    int64_t two[] = {2};

    (void)state;
    for (int i = 0; i < 6; i++) {
        op_harness h;

        op_harness_init(&h, "", operators[i], 14);
        (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, two, (int64_t[]){7, 7});
        (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 0, NULL, (int64_t[]){2});
        op_harness_run(&h, 1);
        assert_int_equal(h.content_counts[0], 2);
        assert_int_equal(h.contents[0][1].size, expected[i]);
        op_harness_fini(&h);
    }
}

/* ---- comparison and choice ---- */

static void compares_every_type(void **state)
{
    static const char *const names[] = {"Less", "LessOrEqual", "Equal", "GreaterOrEqual",
                                        "Greater"};

    (void)state;
    for (int which = 0; which < 5; which++) {
        for (int dtype = 1; dtype < SPRY_DTYPE_COUNT; dtype++) {
            op_harness h;
            int64_t full[SPRY_TENSOR_MAX_RANK];
            int64_t shape[SPRY_TENSOR_MAX_RANK];
            const tensor *out;
            int rank;

            if ((OP_NUMERIC >> dtype & 1) == 0) {
                continue;
            }
            op_harness_init(&h, "", names[which], 16);
            h.state = (uint64_t)(dtype * 5 + which);
            rank = op_harness_shape(&h, 5, full);
            (void)op_harness_any(&h, (spry_dtype)dtype, rank, full, true);
            rank = op_harness_smaller(&h, rank, full, shape);
            (void)op_harness_any(&h, (spry_dtype)dtype, rank, shape, true);
            op_harness_run(&h, 1);
            out = op_harness_output(&h, 0);
            for (int64_t k = 0; k < tensor_count(out); k++) {
                const tensor *a = &h.inputs[0].tensor;
                const tensor *b = &h.inputs[1].tensor;
                int64_t i = op_harness_source(a, out, k);
                int64_t j = op_harness_source(b, out, k);
                bool less = convert_get_f64(a, i) < convert_get_f64(b, j);
                bool greater = convert_get_f64(a, i) > convert_get_f64(b, j);
                bool equal = convert_get_f64(a, i) == convert_get_f64(b, j);
                bool expected[] = {less, less || equal, equal, greater || equal, greater};

                assert_int_equal(convert_get_i64(out, k), expected[which]);
            }
            op_harness_fini(&h);
        }
    }
}

static void compares_and_chooses_strings(void **state)
{
    static const char *const left[] = {"a", "", "spry", "x"};
    static const char *const right[] = {"a"};
    int64_t shape[] = {2, 2};
    op_harness h;
    const spry_text *chosen;

    (void)state;
    op_harness_init(&h, "", "Equal", 19);
    (void)op_harness_texts(&h, 2, shape, left);
    (void)op_harness_texts(&h, 0, NULL, right);
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){1, 0, 0, 0});
    op_harness_fini(&h);

    op_harness_init(&h, "", "Where", 16);
    (void)op_harness_i64s(&h, SPRY_DTYPE_BOOL, 2, shape, (int64_t[]){1, 0, 1, 0});
    (void)op_harness_texts(&h, 2, shape, left);
    (void)op_harness_texts(&h, 0, NULL, right);
    op_harness_run(&h, 1);
    chosen = op_harness_output(&h, 0)->data;
    assert_string_equal(chosen[1].data, "a");
    assert_string_equal(chosen[2].data, "spry");
    op_harness_fini(&h);
}

static void where_chooses_bits(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS * 8; round++) {
        static const spry_dtype dtypes[] = {SPRY_DTYPE_F32, SPRY_DTYPE_I64,  SPRY_DTYPE_F16,
                                            SPRY_DTYPE_U8,  SPRY_DTYPE_BOOL, SPRY_DTYPE_F64};
        op_harness h;
        int64_t full[SPRY_TENSOR_MAX_RANK];
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        spry_dtype dtype = dtypes[round % 6];
        const tensor *out;
        int rank;
        int smaller;

        op_harness_init(&h, "", "Where", 9);
        h.state = (uint64_t)round;
        rank = op_harness_shape(&h, 6, full);
        smaller = op_harness_smaller(&h, rank, full, shape);
        (void)op_harness_any(&h, SPRY_DTYPE_BOOL, smaller, shape, false);
        smaller = op_harness_smaller(&h, rank, full, shape);
        (void)op_harness_any(&h, dtype, smaller, shape, false);
        smaller = op_harness_smaller(&h, rank, full, shape);
        (void)op_harness_any(&h, dtype, smaller, shape, false);
        op_harness_run(&h, 1);
        out = op_harness_output(&h, 0);
        for (int64_t k = 0; k < tensor_count(out); k++) {
            const tensor *c = &h.inputs[0].tensor;
            bool yes = convert_get_i64(c, op_harness_source(c, out, k)) != 0;
            const tensor *from = &h.inputs[yes ? 1 : 2].tensor;

            assert_true(convert_get_f64(out, k) ==
                        convert_get_f64(from, op_harness_source(from, out, k)));
        }
        op_harness_fini(&h);
    }
}

static void clips_between_attributes_or_inputs(void **state)
{
    int64_t shape[] = {5};
    float data[] = {-3, -0.5f, 0.25f, 2, NAN};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Clip", 6);
    op_harness_float(&h, "min", -1.0f);
    (void)op_harness_f32(&h, 1, shape, data);
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){-1, -0.5, 0.25, 2, NAN}, 0.0);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Clip", 11);
    (void)op_harness_f32(&h, 1, shape, data);
    op_harness_omit(&h);
    (void)op_harness_f32(&h, 0, NULL, (float[]){1.0f});
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){-3, -0.5, 0.25, 1, NAN}, 0.0);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Clip", 13); /* the upper bound wins */
    (void)op_harness_i64s(&h, SPRY_DTYPE_U64, 1, shape, (int64_t[]){0, 5, 9, -1, 7});
    (void)op_harness_i64s(&h, SPRY_DTYPE_U64, 0, NULL, (int64_t[]){8});
    (void)op_harness_i64s(&h, SPRY_DTYPE_U64, 0, NULL, (int64_t[]){6});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){6, 6, 6, 6, 6});
    op_harness_fini(&h);

    op_harness_init(&h, "", "Clip", 13);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I8, 1, shape, (int64_t[]){-128, 5, 9, -1, 127});
    (void)op_harness_i64s(&h, SPRY_DTYPE_I8, 0, NULL, (int64_t[]){-2});
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){-2, 5, 9, -1, 127});
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_its_law_for_every_type_and_shape),
        cmocka_unit_test(works_on_large_tensors_in_pieces),
        cmocka_unit_test(integer_powers_wrap_and_truncate),
        cmocka_unit_test(powers_mix_types),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(shape_arithmetic_is_known_before_it_runs),
        cmocka_unit_test(compares_every_type),
        cmocka_unit_test(compares_and_chooses_strings),
        cmocka_unit_test(where_chooses_bits),
        cmocka_unit_test(clips_between_attributes_or_inputs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
