/* Element types: the table, and every code of the small floats against an independent decoding by
 * formula and an encoding by nearest search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensor/dtype.h"

/* What the standards say about one format. */
typedef struct format {
    spry_dtype dtype;
    int exponent_bits;
    int mantissa_bits;
    int bias;
    double largest;
    int codes;
} format;

static const format formats[] = {
    {SPRY_DTYPE_F8E4M3FN, 4, 3, 7, 448.0, 256},  {SPRY_DTYPE_F8E4M3FNUZ, 4, 3, 8, 240.0, 256},
    {SPRY_DTYPE_F8E5M2, 5, 2, 15, 57344.0, 256}, {SPRY_DTYPE_F8E5M2FNUZ, 5, 2, 16, 57344.0, 256},
    {SPRY_DTYPE_F4E2M1, 2, 1, 1, 6.0, 16},       {SPRY_DTYPE_F8E8M0, 8, 0, 127, 0x1p127, 256},
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

/* Value of a code, straight from the formula. */
static double decode(const format *f, int code)
{
    int sign_bit = f->exponent_bits + f->mantissa_bits;
    int exponent = code >> f->mantissa_bits & ((1 << f->exponent_bits) - 1);
    int mantissa = code & ((1 << f->mantissa_bits) - 1);
    double sign = code >> sign_bit & 1 ? -1.0 : 1.0;

    switch (f->dtype) {
    case SPRY_DTYPE_F8E4M3FN:
        if ((code & 0x7f) == 0x7f) {
            return NAN;
        }
        break;
    case SPRY_DTYPE_F8E4M3FNUZ:
    case SPRY_DTYPE_F8E5M2FNUZ:
        if (code == 0x80) {
            return NAN;
        }
        break;
    case SPRY_DTYPE_F8E5M2:
        if (exponent == 31) {
            return mantissa == 0 ? sign * INFINITY : NAN;
        }
        break;
    case SPRY_DTYPE_F8E8M0: return code == 255 ? NAN : ldexp(1.0, code - 127);
    default: break;
    }
    if (exponent == 0) {
        return sign * ldexp(mantissa, 1 - f->bias - f->mantissa_bits);
    }
    return sign * ldexp(1.0 + ldexp(mantissa, -f->mantissa_bits), exponent - f->bias);
}

static void decodes_every_code(void **state)
{
    (void)state;
    for (int k = 0; k < FORMATS; k++) {
        double largest = 0.0;

        for (int code = 0; code < formats[k].codes; code++) {
            double expected = decode(&formats[k], code);
            double got = (double)dtype_small_float_to_f32(formats[k].dtype, (uint8_t)code);

            if (isnan(expected)) {
                assert_true(isnan(got));
                continue;
            }
            assert_true(got == expected && !signbit(got) == !signbit(expected));
            largest = isfinite(got) && got > largest ? got : largest;
        }
        assert_true(largest == formats[k].largest);
    }
}

static bool has_one_zero(const format *f)
{
    return f->dtype == SPRY_DTYPE_F8E4M3FNUZ || f->dtype == SPRY_DTYPE_F8E5M2FNUZ;
}

/* The nearest finite code, the even one where two are equally near. */
static int nearest(const format *f, double value)
{
    int best = -1;
    double distance = INFINITY;

    for (int code = 0; code < f->codes; code++) {
        double candidate = decode(f, code);
        double d = fabs(candidate - value);

        if (!isfinite(candidate) ||
            (candidate == 0.0 && !has_one_zero(f) && signbit(candidate) != signbit(value))) {
            continue;
        }
        if (d < distance || (d == distance && (code & 1) == 0)) {
            best = code;
            distance = d;
        }
    }
    return best;
}

static int expected_code(const format *f, float value)
{
    value = f->dtype == SPRY_DTYPE_F8E8M0 ? fabsf(value) : value;
    return nearest(f, fmax(fmin((double)value, f->largest), -f->largest));
}

static void check_encoding(const format *f, float value)
{
    int expected = expected_code(f, value);
    int got = dtype_small_float_from_f32(f->dtype, value, true);

    if (got != expected) {
        fail_msg("%s of %a: code %#x, expected %#x", spry_dtype_name(f->dtype), (double)value,
                 (unsigned)got, (unsigned)expected);
    }
}

static void encodes_to_the_nearest(void **state)
{
    (void)state;
    for (int k = 0; k < FORMATS; k++) {
        const format *f = &formats[k];

        for (int code = 0; code < f->codes; code++) {
            double value = decode(f, code);
            double next = decode(f, (code + 1) % f->codes);
            double middle = (value + next) / 2;

            if (isfinite(value)) {
                check_encoding(f, (float)value);
            }
            if (isfinite(middle)) {
                check_encoding(f, (float)middle);
                check_encoding(f, nextafterf((float)middle, INFINITY));
                check_encoding(f, nextafterf((float)middle, -INFINITY));
            }
        }
        /* Every exponent and sign of f32, with mantissas that hit all rounding cases. */
        for (uint32_t high = 0; high < 0x10000; high += 7) {
            float value = dtype_f32_of_bits(high << 16 | (high * 40503u & 0xffffu));

            if (isfinite(value)) {
                check_encoding(f, value);
            }
        }
    }
}

static void overflow_follows_the_cast_operator(void **state)
{
    static const struct {
        spry_dtype dtype;
        float value;
        uint8_t saturated;
        uint8_t plain;
    } cases[] = {
        {SPRY_DTYPE_F8E4M3FN, 1000.0f, 0x7e, 0x7f},
        {SPRY_DTYPE_F8E4M3FN, -1000.0f, 0xfe, 0xff},
        {SPRY_DTYPE_F8E4M3FN, INFINITY, 0x7e, 0x7f},
        {SPRY_DTYPE_F8E4M3FNUZ, 1000.0f, 0x7f, 0x80},
        {SPRY_DTYPE_F8E4M3FNUZ, -INFINITY, 0xff, 0x80},
        {SPRY_DTYPE_F8E5M2, 1e6f, 0x7b, 0x7c},
        {SPRY_DTYPE_F8E5M2, -INFINITY, 0xfb, 0xfc},
        {SPRY_DTYPE_F8E5M2FNUZ, 1e6f, 0x7f, 0x80},
        {SPRY_DTYPE_F4E2M1, 1e6f, 0x07, 0x07},
        {SPRY_DTYPE_F4E2M1, -INFINITY, 0x0f, 0x0f},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(dtype_small_float_from_f32(cases[i].dtype, cases[i].value, true),
                         cases[i].saturated);
        assert_int_equal(dtype_small_float_from_f32(cases[i].dtype, cases[i].value, false),
                         cases[i].plain);
    }
    for (int k = 0; k < FORMATS; k++) {
        uint8_t nan = dtype_small_float_from_f32(formats[k].dtype, NAN, false);

        assert_true(formats[k].dtype == SPRY_DTYPE_F4E2M1 ||
                    isnan(dtype_small_float_to_f32(formats[k].dtype, nan)));
    }
}

static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    int mantissa = bits & 1023;
    double sign = bits >> 15 ? -1.0 : 1.0;

    if (exponent == 31) {
        return mantissa == 0 ? sign * INFINITY : NAN;
    }
    return exponent == 0 ? sign * ldexp(mantissa, -24)
                         : sign * ldexp(1024 + mantissa, exponent - 25);
}

static void f16_is_exact_and_rounds_to_even(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x10000; i++) {
        uint16_t bits = (uint16_t)i;
        double value = half_value(bits);
        float got = dtype_f16_to_f32(bits);
        double next = half_value((uint16_t)(bits + 1));
        float middle = (float)((value + next) / 2);
        uint16_t even = bits & 1 ? (uint16_t)(bits + 1) : bits;

        if (isnan(value)) {
            assert_true(isnan(got) && isnan(dtype_f16_to_f32(dtype_f16_from_f32(got))));
            continue;
        }
        assert_true((double)got == value && !signbit(got) == !signbit(value));
        assert_int_equal(dtype_f16_from_f32(got), bits);
        if (isfinite(value) && isfinite(next)) {
            assert_int_equal(dtype_f16_from_f32(middle), even);
            assert_int_equal(dtype_f16_from_f32(nextafterf(middle, got)), bits);
            assert_int_equal(dtype_f16_from_f32(nextafterf(middle, (float)next)), bits + 1u);
        }
    }
    assert_int_equal(dtype_f16_from_f32(65519.99f), 0x7bff);
    assert_int_equal(dtype_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(dtype_f16_from_f32(1e-10f), 0);
}

static void bf16_is_exact_and_rounds_to_even(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x10000; i++) {
        float value = dtype_bf16_to_f32((uint16_t)i);
        uint32_t even = i & 1u ? i + 1 : i;

        if (isnan(value)) {
            assert_true(isnan(dtype_bf16_to_f32(dtype_bf16_from_f32(value))));
            continue;
        }
        assert_int_equal(dtype_bits_of_f32(value), i << 16);
        assert_int_equal(dtype_bf16_from_f32(value), i);
        if (isfinite(value)) {
            assert_int_equal(dtype_bf16_from_f32(dtype_f32_of_bits(i << 16 | 0x8000u)), even);
            assert_int_equal(dtype_bf16_from_f32(dtype_f32_of_bits(i << 16 | 0x8001u)), i + 1);
            assert_int_equal(dtype_bf16_from_f32(dtype_f32_of_bits(i << 16 | 0x7fffu)), i);
        }
    }
}

static void f64_narrows_with_one_rounding(void **state)
{
    /* Just above the middle of two f16 values, by less than f32 can say. */
    double above = 1.0 + 0x1p-11 + 0x1p-40;

    (void)state;
    assert_int_equal(dtype_f16_from_f32((float)above), 0x3c00);
    assert_int_equal(dtype_f16_from_f32(dtype_f32_for_narrowing(above)), 0x3c01);
    assert_int_equal(dtype_f16_from_f32(dtype_f32_for_narrowing(-above)), 0xbc01);
    assert_true(isnan(dtype_f32_for_narrowing(NAN)));
    assert_true(isinf(dtype_f32_for_narrowing(-INFINITY)));
    assert_true(dtype_f32_for_narrowing(0.5) == 0.5f);
    assert_true(isfinite(dtype_f32_for_narrowing(1e300)));
}

static void names_parse_back(void **state)
{
    (void)state;
    for (int i = 1; i < SPRY_DTYPE_COUNT; i++) {
        assert_int_equal(spry_dtype_parse(spry_dtype_name((spry_dtype)i)), i);
    }
    assert_int_equal(spry_dtype_parse("FLOAT"), SPRY_DTYPE_F32);
    assert_int_equal(spry_dtype_parse("float32"), SPRY_DTYPE_F32);
    assert_int_equal(spry_dtype_parse("uint8"), SPRY_DTYPE_U8);
    assert_int_equal(spry_dtype_parse("float8_e4m3fn"), SPRY_DTYPE_F8E4M3FN);
    assert_int_equal(spry_dtype_parse("none"), SPRY_DTYPE_NONE);
    assert_int_equal(spry_dtype_parse(""), SPRY_DTYPE_NONE);
    assert_int_equal(spry_dtype_parse(NULL), SPRY_DTYPE_NONE);
    assert_string_equal(spry_dtype_name((spry_dtype)99), "none");
    assert_int_equal(spry_dtype_bits((spry_dtype)-1), 0);
}

static void storage_is_counted_in_whole_bytes(void **state)
{
    static const struct {
        spry_dtype dtype;
        int64_t count;
        size_t bytes;
    } cases[] = {
        {SPRY_DTYPE_F32, 3, 12},   {SPRY_DTYPE_I4, 3, 2},    {SPRY_DTYPE_U2, 5, 2},
        {SPRY_DTYPE_I2, 4, 1},     {SPRY_DTYPE_C128, 2, 32}, {SPRY_DTYPE_STRING, 2, 32},
        {SPRY_DTYPE_F4E2M1, 0, 0},
    };
    size_t bytes = 0;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(dtype_storage_bytes(cases[i].dtype, cases[i].count, &bytes));
        assert_int_equal(bytes, cases[i].bytes);
    }
    assert_false(dtype_storage_bytes(SPRY_DTYPE_F32, -1, &bytes));
    assert_false(dtype_storage_bytes(SPRY_DTYPE_NONE, 1, &bytes));
    assert_false(dtype_storage_bytes(SPRY_DTYPE_C128, INT64_MAX, &bytes));
}

static void integers_know_their_range(void **state)
{
    (void)state;
    assert_int_equal(dtype_integer_min(SPRY_DTYPE_I2), -2);
    assert_int_equal(dtype_integer_max(SPRY_DTYPE_I4), 7);
    assert_int_equal(dtype_integer_max(SPRY_DTYPE_U4), 15);
    assert_int_equal(dtype_integer_min(SPRY_DTYPE_I8), -128);
    assert_int_equal(dtype_integer_max(SPRY_DTYPE_U32), 4294967295LL);
    assert_true(dtype_integer_min(SPRY_DTYPE_I64) == INT64_MIN);
    assert_true(dtype_integer_max(SPRY_DTYPE_U64) == INT64_MAX);
    assert_int_equal(dtype_integer_min(SPRY_DTYPE_U8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_code),
        cmocka_unit_test(encodes_to_the_nearest),
        cmocka_unit_test(overflow_follows_the_cast_operator),
        cmocka_unit_test(f16_is_exact_and_rounds_to_even),
        cmocka_unit_test(bf16_is_exact_and_rounds_to_even),
        cmocka_unit_test(f64_narrows_with_one_rounding),
        cmocka_unit_test(names_parse_back),
        cmocka_unit_test(storage_is_counted_in_whole_bytes),
        cmocka_unit_test(integers_know_their_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
