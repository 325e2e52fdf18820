/* Casts between all pairs of types, and linear quantisation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"
#include "tensor/quantize.h"

static bool is_number(int dtype)
{
    dtype_class class = dtype_class_of((spry_dtype)dtype);

    return class != DTYPE_CLASS_NONE && class != DTYPE_CLASS_STRING && class != DTYPE_CLASS_COMPLEX;
}

/* 0, 1 and 2 are exact in nearly all types; bool holds only whether it is zero, f8e8m0 no zero, two
 * bits no 2 with a sign. */
static double held(spry_dtype dtype, double x)
{
    if (dtype == SPRY_DTYPE_BOOL) {
        return x != 0;
    }
    if (dtype == SPRY_DTYPE_F8E8M0 && x == 0) {
        return ldexp(1, -127);
    }
    return x;
}

static void casts_small_numbers_between_all_types(void **state)
{
    static double numbers[1200];
    int64_t shape[] = {3, 400};

    (void)state;
    for (int i = 0; i < 1200; i++) {
        numbers[i] = i % 2;
    }
    for (int from = 1; from < SPRY_DTYPE_COUNT; from++) {
        for (int to = 1; to < SPRY_DTYPE_COUNT; to++) {
            op_harness h;

            if (!is_number(from) || !is_number(to)) {
                continue;
            }
            op_harness_init(&h, "", to % 2 != 0 ? "Cast" : "CastLike", 25);
            op_harness_int(&h, "to", to);
            (void)op_harness_f64s(&h, (spry_dtype)from, 2, shape, numbers);
            if (to % 2 == 0) {
                (void)op_harness_input(&h, (spry_dtype)to, 0, NULL);
            }
            op_harness_run(&h, 1);
            op_harness_expect(&h, 0, (spry_dtype)to, 2, shape);
            for (int i = 0; i < 1200; i++) {
                double middle = held((spry_dtype)from, numbers[i]);
                bool tiny = middle > 0 && middle < 1; /* f8e8m0's least number */
                double expected = held((spry_dtype)to, middle);

                if (!tiny) {
                    assert_true(op_harness_f64_at(&h, 0, i) == expected);
                }
            }
            op_harness_fini(&h);
        }
    }
}

static void casts_truncate_and_wrap_or_saturate(void **state)
{
    int64_t shape[] = {6};
    float data[] = {-1.9f, 1.9f, 300.0f, NAN, 1e20f, -1e20f};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Cast", 13);
    op_harness_int(&h, "to", SPRY_DTYPE_U8);
    (void)op_harness_f32(&h, 1, shape, data);
    op_harness_run(&h, 1);
    assert_int_equal(op_harness_i64_at(&h, 0, 0), 255);
    assert_int_equal(op_harness_i64_at(&h, 0, 1), 1);
    assert_int_equal(op_harness_i64_at(&h, 0, 2), 44);
    assert_int_equal(op_harness_i64_at(&h, 0, 3), 0);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Cast", 13);
    op_harness_int(&h, "to", SPRY_DTYPE_I32);
    (void)op_harness_f32(&h, 1, shape, data);
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){-1, 1, 300, 0, INT32_MAX, INT32_MIN});
    op_harness_fini(&h);

    op_harness_init(&h, "", "Cast", 13);
    op_harness_int(&h, "to", SPRY_DTYPE_F64);
    (void)op_harness_i64s(&h, SPRY_DTYPE_U64, 1, (int64_t[]){1}, (int64_t[]){-1});
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){18446744073709551616.0}, 0);
    op_harness_fini(&h);
}

static void small_floats_saturate_when_asked(void **state)
{
    int64_t shape[] = {3};

    (void)state;
    for (int saturate = 0; saturate < 2; saturate++) {
        double most = saturate ? 448 : NAN;
        op_harness h;

        op_harness_init(&h, "", "Cast", 19);
        op_harness_int(&h, "to", SPRY_DTYPE_F8E4M3FN);
        op_harness_int(&h, "saturate", saturate);
        (void)op_harness_f32(&h, 1, shape, (float[]){1e6f, -1.0f, INFINITY});
        op_harness_run(&h, 1);
        op_harness_expect_f64(&h, 0, (double[]){most, -1, most}, 0);
        op_harness_fini(&h);
    }
}

static void powers_of_two_round_as_asked(void **state)
{
    static const char *const modes[] = {"up", "down", "nearest"};
    static const double expected[3][4] = {{2, 1, 4, 8}, {1, 1, 2, 4}, {1, 1, 4, 8}};
    int64_t shape[] = {4};

    (void)state;
    for (int mode = 0; mode < 3; mode++) {
        op_harness h;

        op_harness_init(&h, "", "Cast", 25);
        op_harness_int(&h, "to", SPRY_DTYPE_F8E8M0);
        op_harness_string(&h, "round_mode", modes[mode]);
        (void)op_harness_f32(&h, 1, shape, (float[]){1.25f, 1.0f, 3.0f, 7.0f});
        op_harness_run(&h, 1);
        op_harness_expect_f64(&h, 0, expected[mode], 0);
        op_harness_fini(&h);
    }
}

static void reads_numbers_from_text(void **state)
{
    static const char *const words[] = {"3.5", " -2 ", "NaN", "+inf", "-INF", "1e-3"};
    static const char *const integers[] = {"9223372036854775807", "-5", "+7"};
    static const char *const wrong[] = {"1.2.3"};
    int64_t six[] = {6};
    int64_t three[] = {3};
    int64_t one[] = {1};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Cast", 13);
    op_harness_int(&h, "to", SPRY_DTYPE_F32);
    (void)op_harness_texts(&h, 1, six, words);
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){3.5, -2, NAN, INFINITY, -INFINITY, 0.001f}, 0);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Cast", 13);
    op_harness_int(&h, "to", SPRY_DTYPE_I64);
    (void)op_harness_texts(&h, 1, three, integers);
    op_harness_run(&h, 1);
    op_harness_expect_i64(&h, 0, (int64_t[]){INT64_MAX, -5, 7});
    op_harness_fini(&h);

    op_harness_init(&h, "", "Cast", 13);
    op_harness_int(&h, "to", SPRY_DTYPE_F64);
    (void)op_harness_texts(&h, 1, one, wrong);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

static void writes_the_shortest_text(void **state)
{
    static const char *const floats[] = {"0.1", "16777216", "-INF", "NaN"};
    int64_t shape[] = {4};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "Cast", 13);
    op_harness_int(&h, "to", SPRY_DTYPE_STRING);
    (void)op_harness_f32(&h, 1, shape, (float[]){0.1f, 16777216.0f, -INFINITY, NAN});
    op_harness_run(&h, 1);
    for (int i = 0; i < 4; i++) {
        const spry_text *text = (const spry_text *)op_harness_output(&h, 0)->data + i;

        assert_string_equal(text->data, floats[i]);
    }
    op_harness_fini(&h);
}

/* ---- quantisation ---- */

static void rounds_halves_to_even_and_saturates(void **state)
{
    int64_t shape[] = {8};
    float scale = 2.0f;
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "QuantizeLinear", 10);
    (void)op_harness_f32(&h, 1, shape, (float[]){1, 3, -1, 5, 1000, -1000, NAN, 0});
    (void)op_harness_f32(&h, 0, NULL, &scale);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I8, 0, NULL, (int64_t[]){10});
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_I8, 1, shape);
    op_harness_expect_i64(&h, 0, (int64_t[]){10, 12, 10, 12, 127, -128, 10, 10});
    op_harness_fini(&h);
}

/* Every form against the rule, element by element: 0 per tensor, 1 per axis, 2 in blocks. */
static void check_forms(bool back, int form, spry_dtype dtype, int round)
{
    int64_t shape[] = {3, 7, 2};
    int64_t axis = round % 3;
    int64_t block = 2;
    int64_t blocks = form == 2 ? (shape[axis] + block - 1) / block : shape[axis];
    int64_t blocked[] = {shape[0], shape[1], shape[2]};
    int scale_rank = form == 0 ? 0 : form == 1 ? 1 : 3;
    const int64_t *scale_shape = form == 1 ? &blocks : blocked;
    const tensor *x;
    tensor *scale;
    tensor *zero;
    op_harness h;

    blocked[axis] = blocks;
    op_harness_init(&h, "", back ? "DequantizeLinear" : "QuantizeLinear", 25);
    h.state = (uint64_t)round;
    if (form > 0) {
        op_harness_int(&h, "axis", axis - (round % 2) * 3);
    }
    if (form == 2) {
        op_harness_int(&h, "block_size", block);
    }
    x = op_harness_any(&h, back ? dtype : SPRY_DTYPE_F32, 3, shape, false);
    scale = op_harness_input(&h, SPRY_DTYPE_F32, scale_rank, scale_shape);
    for (int64_t i = 0; i < tensor_count(scale); i++) {
        ((float *)scale->data)[i] = 0.25f * (float)(1 + op_harness_next(&h, 7));
    }
    zero = op_harness_input(&h, dtype, scale_rank, scale_shape);
    for (int64_t i = 0; i < tensor_count(zero); i++) {
        int64_t z = op_harness_next(&h, 3);

        convert_write_i64(zero, i, 1, &z);
    }
    op_harness_run(&h, 1);
    for (int64_t i = 0; i < tensor_count(x); i++) {
        int64_t at[] = {i / 14, i / 2 % 7, i % 2};
        int64_t which;
        double s;
        double z;
        double real = convert_get_f64(x, i);

        at[axis] = form == 2 ? at[axis] / block : at[axis];
        which = form == 0   ? 0
                : form == 1 ? at[axis]
                            : (at[0] * blocked[1] + at[1]) * blocked[2] + at[2];
        s = convert_get_f64(scale, which);
        z = convert_get_f64(zero, which);
        if (back) {
            assert_true(op_harness_f64_at(&h, 0, i) == (real - z) * s);
        } else {
            double q = rint(real / s) + z;

            q = fmin(fmax(q, (double)dtype_integer_min(dtype)), (double)dtype_integer_max(dtype));
            assert_true(op_harness_f64_at(&h, 0, i) == q);
        }
    }
    op_harness_fini(&h);
}

static void scales_per_tensor_axis_and_block(void **state)
{
    static const spry_dtype dtypes[] = {SPRY_DTYPE_U8,  SPRY_DTYPE_I8, SPRY_DTYPE_U16,
                                        SPRY_DTYPE_I16, SPRY_DTYPE_U4, SPRY_DTYPE_I4};

    (void)state;
    for (int form = 0; form < 3; form++) {
        for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++) {
            for (int round = 0; round < 6; round++) {
                check_forms(false, form, dtypes[t], round);
                check_forms(true, form, dtypes[t], round);
            }
        }
    }
}

static void the_result_type_comes_from_zero_point_or_attribute(void **state)
{
    int64_t shape[] = {2};
    float scale = 0.5f;
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "QuantizeLinear", 21);
    op_harness_int(&h, "output_dtype", SPRY_DTYPE_F8E5M2);
    (void)op_harness_f32(&h, 1, shape, (float[]){1.0f, -0.75f});
    (void)op_harness_f32(&h, 0, NULL, &scale);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F8E5M2, 1, shape);
    op_harness_expect_f64(&h, 0, (double[]){2, -1.5}, 0);
    op_harness_fini(&h);

    op_harness_init(&h, "com.microsoft", "QuantizeLinear", 1);
    (void)op_harness_f32(&h, 1, shape, (float[]){1.0f, -0.75f});
    (void)op_harness_f32(&h, 0, NULL, &scale);
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_U8, 1, shape);
    op_harness_fini(&h);

    op_harness_init(&h, "com.microsoft", "DequantizeLinear", 1);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I32, 1, shape, (int64_t[]){100000, -3});
    (void)op_harness_f32(&h, 0, NULL, &scale);
    op_harness_run(&h, 1);
    op_harness_expect_f64(&h, 0, (double[]){50000, -1.5}, 0);
    op_harness_fini(&h);
}

static void scales_of_the_wrong_shape_are_refused(void **state)
{
    int64_t shape[] = {2, 3};
    int64_t four[] = {4};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "QuantizeLinear", 13);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 2, shape, false);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, four, false);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

static void chooses_a_range_at_run_time(void **state)
{
    int64_t shape[] = {6};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "DynamicQuantizeLinear", 11);
    (void)op_harness_f32(&h, 1, shape, (float[]){0, 2, -3, -2.5f, 1.34f, 0.5f});
    op_harness_run(&h, 3);
    op_harness_expect_i64(&h, 0, (int64_t[]){153, 255, 0, 26, 221, 179});
    op_harness_expect_f64(&h, 1, (double[]){0.0196078438}, 1e-9);
    op_harness_expect_i64(&h, 2, (int64_t[]){153});
    op_harness_fini(&h);

    op_harness_init(&h, "", "DynamicQuantizeLinear", 11);
    (void)op_harness_f32(&h, 1, shape, (float[]){0, 0, 0, 0, 0, 0});
    op_harness_run(&h, 3);
    op_harness_expect_i64(&h, 0, (int64_t[]){0, 0, 0, 0, 0, 0});
    op_harness_fini(&h);
}

static void one_rule_for_accumulators(void **state)
{
    quantize_target u8 = quantize_target_of(SPRY_DTYPE_U8, 3);

    (void)state;
    assert_int_equal(quantize_accumulator(5, 0.5f, u8), 5); /* 2.5 -> 2 */
    assert_int_equal(quantize_accumulator(7, 0.5f, u8), 7); /* 3.5 -> 4 */
    assert_int_equal(quantize_accumulator(INT32_MAX, 1.0f, u8), 255);
    assert_int_equal(quantize_accumulator(INT32_MIN, 1.0f, u8), 0);
    assert_true(quantize_back(5, 0.5f, 3) == 1.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(casts_small_numbers_between_all_types),
        cmocka_unit_test(casts_truncate_and_wrap_or_saturate),
        cmocka_unit_test(small_floats_saturate_when_asked),
        cmocka_unit_test(powers_of_two_round_as_asked),
        cmocka_unit_test(reads_numbers_from_text),
        cmocka_unit_test(writes_the_shortest_text),
        cmocka_unit_test(rounds_halves_to_even_and_saturates),
        cmocka_unit_test(scales_per_tensor_axis_and_block),
        cmocka_unit_test(the_result_type_comes_from_zero_point_or_attribute),
        cmocka_unit_test(scales_of_the_wrong_shape_are_refused),
        cmocka_unit_test(chooses_a_range_at_run_time),
        cmocka_unit_test(one_rule_for_accumulators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
