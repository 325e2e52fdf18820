/* Block conversions against the conversion of single values, at every start and odd counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "tensor/convert.h"

enum { COUNT = 2 * CONVERT_BLOCK + 37 };

/* A small deterministic generator: tests need variety, not quality. */
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static spry_tensor *make(spry_dtype dtype, int64_t count)
{
    spry_tensor *t = NULL;

    assert_int_equal(spry_tensor_create(NULL, dtype, 1, &count, &t, NULL), SPRY_OK);
    return t;
}

static bool is_number(spry_dtype dtype)
{
    dtype_class kind = dtype_class_of(dtype);

    return kind == DTYPE_CLASS_FLOAT || kind == DTYPE_CLASS_SIGNED ||
           kind == DTYPE_CLASS_UNSIGNED || kind == DTYPE_CLASS_BOOL;
}

static void small_integers_survive_every_type(void **state)
{
    int64_t in[COUNT];
    int64_t out[COUNT];
    float out_f32[COUNT];
    double out_f64[COUNT];

    (void)state;
    for (int d = 1; d < SPRY_DTYPE_COUNT; d++) {
        spry_dtype dtype = (spry_dtype)d;
        spry_tensor *t;

        if (!is_number(dtype)) {
            continue;
        }
        t = make(dtype, COUNT);
        for (int i = 0; i < COUNT; i++) {
            in[i] = dtype == SPRY_DTYPE_F8E8M0 ? 1 + i % 2 : i % 2;
        }
        convert_write_i64(t, 0, COUNT, in);
        convert_read_i64(t, 3, COUNT - 3, out);
        convert_read_f32(t, 3, COUNT - 3, out_f32);
        convert_read_f64(t, 3, COUNT - 3, out_f64);
        for (int i = 0; i < COUNT - 3; i++) {
            assert_int_equal(out[i], in[i + 3]);
            assert_true(out_f32[i] == (float)in[i + 3]);
            assert_true(out_f64[i] == (double)in[i + 3]);
        }
        assert_int_equal(convert_get_i64(t, 1), in[1]);
        assert_true(convert_get_f64(t, 1) == (double)in[1]);
        spry_tensor_destroy(t);
    }
}

/* Writing part of a packed tensor leaves its neighbours alone. */
static void packed_neighbours_stay(void **state)
{
    static const spry_dtype packed[] = {SPRY_DTYPE_I4, SPRY_DTYPE_U4, SPRY_DTYPE_I2, SPRY_DTYPE_U2};
    uint32_t seed = 7;

    (void)state;
    for (size_t k = 0; k < sizeof packed / sizeof packed[0]; k++) {
        int64_t low = dtype_integer_min(packed[k]);
        int64_t high = dtype_integer_max(packed[k]);
        spry_tensor *t = make(packed[k], 41);
        int64_t model[41] = {0};

        for (int round = 0; round < 300; round++) {
            int64_t start = next_random(&seed) % 41;
            int64_t count = next_random(&seed) % (uint32_t)(42 - start);
            int64_t out[41];

            for (int64_t i = 0; i < count; i++) {
                model[start + i] = low + (int64_t)(next_random(&seed) % (uint32_t)(high - low + 1));
            }
            convert_write_i64(t, start, count, model + start);
            convert_read_i64(t, 0, 41, out);
            assert_memory_equal(out, model, sizeof model);
        }
        spry_tensor_destroy(t);
    }
}

static void packing_puts_the_first_element_low(void **state)
{
    const int64_t four[] = {1, -2};
    const int64_t two[] = {1, -2, 0, -1};
    spry_tensor *t = make(SPRY_DTYPE_I4, 2);

    (void)state;
    convert_write_i64(t, 0, 2, four);
    assert_int_equal(*(uint8_t *)spry_tensor_data(t), 0xe1);
    spry_tensor_destroy(t);
    t = make(SPRY_DTYPE_I2, 4);
    convert_write_i64(t, 0, 4, two);
    assert_int_equal(*(uint8_t *)spry_tensor_data(t), 0xc9);
    spry_tensor_destroy(t);
}

static void floats_saturate_into_integers(void **state)
{
    const double in[] = {NAN, INFINITY, -INFINITY, 1e30, -1e30, 2.9, -2.9, 0.5};

    (void)state;
    for (int d = 1; d < SPRY_DTYPE_COUNT; d++) {
        spry_dtype dtype = (spry_dtype)d;
        dtype_class kind = dtype_class_of(dtype);
        int64_t low = dtype_integer_min(dtype);
        int64_t high = dtype_integer_max(dtype);
        const int64_t expected[] = {
            0, high, low, high, low, high < 2 ? high : 2, low > -2 ? low : -2, 0};
        spry_tensor *t;

        if ((kind != DTYPE_CLASS_SIGNED && kind != DTYPE_CLASS_UNSIGNED) ||
            dtype == SPRY_DTYPE_U64) {
            continue;
        }
        t = make(dtype, 16);
        for (int i = 0; i < 8; i++) {
            float narrow = (float)in[i];

            convert_write_f64(t, i, 1, &in[i]);
            convert_write_f32(t, 8 + i, 1, &narrow);
            assert_int_equal(convert_get_i64(t, i), expected[i]);
            assert_int_equal(convert_get_i64(t, 8 + i), expected[i]);
        }
        spry_tensor_destroy(t);
    }
}

static void u64_uses_its_upper_half(void **state)
{
    const double in[] = {NAN, -1.0, 1e30, 9223372036854775808.0, 18446744073709549568.0};
    const uint64_t expected[] = {0, 0, UINT64_MAX, (uint64_t)1 << 63, 18446744073709549568u};
    spry_tensor *t = make(SPRY_DTYPE_U64, 5);

    (void)state;
    convert_write_f64(t, 0, 5, in);
    assert_memory_equal(spry_tensor_data(t), expected, sizeof expected);
    assert_true(convert_get_f64(t, 3) == 9223372036854775808.0);
    assert_true(convert_get_i64(t, 3) == INT64_MIN);
    spry_tensor_destroy(t);
}

static void integers_wrap_and_bools_normalise(void **state)
{
    const int64_t in[] = {257, -1, 128};
    const float floats[] = {NAN, 0.0f, -0.25f};
    spry_tensor *narrow = make(SPRY_DTYPE_I8, 3);
    spry_tensor *truth = make(SPRY_DTYPE_BOOL, 6);

    (void)state;
    convert_write_i64(narrow, 0, 3, in);
    assert_int_equal(convert_get_i64(narrow, 0), 1);
    assert_int_equal(convert_get_i64(narrow, 1), -1);
    assert_int_equal(convert_get_i64(narrow, 2), -128);
    convert_write_i64(truth, 0, 3, in);
    convert_write_f32(truth, 3, 3, floats);
    assert_memory_equal(spry_tensor_data(truth), "\1\1\1\1\0\1", 6);
    spry_tensor_destroy(narrow);
    spry_tensor_destroy(truth);
}

/* Random bits of every float type: reading as f32 and writing back gives the same bits. */
static void float_bits_survive(void **state)
{
    static const spry_dtype types[] = {
        SPRY_DTYPE_F16,    SPRY_DTYPE_BF16,       SPRY_DTYPE_F8E5M2, SPRY_DTYPE_F8E4M3FN,
        SPRY_DTYPE_F8E8M0, SPRY_DTYPE_F8E4M3FNUZ, SPRY_DTYPE_F4E2M1, SPRY_DTYPE_F8E5M2FNUZ};
    uint32_t seed = 3;

    (void)state;
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        spry_tensor *from = make(types[k], COUNT);
        spry_tensor *to = make(types[k], COUNT);
        uint8_t *bytes = spry_tensor_data(from);
        float f32[COUNT];
        double f64[COUNT];

        for (size_t i = 0; i < spry_tensor_bytes(from); i++) {
            bytes[i] = (uint8_t)next_random(&seed);
        }
        convert_read_f32(from, 0, COUNT, f32);
        for (int i = 0; i < COUNT; i++) {
            f32[i] = isfinite(f32[i]) ? f32[i] : 1.0f; /* NaNs and what saturates have many codes */
            f64[i] = (double)f32[i];
        }
        convert_write_f32(from, 0, COUNT, f32);
        convert_write_f64(to, 0, COUNT, f64);
        assert_memory_equal(spry_tensor_data(from), spry_tensor_data(to),
                            spry_tensor_bytes(to) - 1); /* the last may be padded */
        for (int i = 0; i < COUNT; i++) {
            assert_true(convert_get_f64(to, i) == f64[i]);
        }
        spry_tensor_destroy(from);
        spry_tensor_destroy(to);
    }
}

static void complex_and_strings_read_as_zero(void **state)
{
    spry_tensor *t = make(SPRY_DTYPE_C128, 2);
    spry_tensor *text = make(SPRY_DTYPE_STRING, 2);

    (void)state;
    memset(spry_tensor_data(t), 0x3f, spry_tensor_bytes(t));
    assert_true(convert_get_f64(t, 1) == 0.0);
    assert_int_equal(convert_get_i64(text, 1), 0);
    spry_tensor_destroy(t);
    spry_tensor_destroy(text);
}

static void nothing_is_touched_for_no_elements(void **state)
{
    (void)state;
    for (int d = 1; d < SPRY_DTYPE_COUNT; d++) {
        spry_tensor *t = make((spry_dtype)d, 0);
        float f32 = 1.0f;

        convert_read_f32(t, 0, 0, &f32);
        convert_write_f32(t, 0, 0, &f32);
        assert_true(f32 == 1.0f);
        spry_tensor_destroy(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_integers_survive_every_type),
        cmocka_unit_test(packed_neighbours_stay),
        cmocka_unit_test(packing_puts_the_first_element_low),
        cmocka_unit_test(floats_saturate_into_integers),
        cmocka_unit_test(u64_uses_its_upper_half),
        cmocka_unit_test(integers_wrap_and_bools_normalise),
        cmocka_unit_test(float_bits_survive),
        cmocka_unit_test(complex_and_strings_read_as_zero),
        cmocka_unit_test(nothing_is_touched_for_no_elements),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
