/* Numbers are taken whole and in range, or not at all. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parse.h"

static void integers(void **state)
{
    static const struct {
        const char *string;
        int64_t value;
    } good[] = {{"0", 0},
                {"-0", 0},
                {"007", 7},
                {"-17", -17},
                {"0x1F", 31},
                {"-0x10", -16},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {
        "",
        " 1",
        "1 ",
        "+1",
        "--1",
        "1.0",
        "1e3",
        "abc",
        "0x",
        "0xg",
        "1,2",
        "-",
        "1\n",
        "0b1",
        "9223372036854775808",
        "-9223372036854775809",
    };
    int64_t value = 99;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(parse_i64(good[i].string, INT64_MIN, INT64_MAX, &value));
        assert_int_equal(value, good[i].value);
    }
    value = 99;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(parse_i64(bad[i], INT64_MIN, INT64_MAX, &value));
    }
    assert_false(parse_i64(NULL, 0, 1, &value));
    assert_false(parse_i64("5", 6, 10, &value));
    assert_false(parse_i64("11", 6, 10, &value));
    assert_int_equal(value, 99);
    assert_true(parse_i64("10", 6, 10, &value));
}

static void unsigned_integers(void **state)
{
    uint64_t value = 99;

    (void)state;
    assert_false(parse_u64("-1", 0, UINT64_MAX, &value));
    assert_false(parse_u64("18446744073709551616", 0, UINT64_MAX, &value));
    assert_false(parse_u64("3", 4, 5, &value));
    assert_false(parse_u64(NULL, 4, 5, &value));
    assert_int_equal(value, 99);
    assert_true(parse_u64("18446744073709551615", 0, UINT64_MAX, &value));
    assert_int_equal(value, UINT64_MAX);
}

static void reals(void **state)
{
    static const char *const bad[] = {"",   ".",  "-",    "e5",  "inf", "nan",    "0x1p3", "1e999",
                                      " 1", "1 ", "1..2", "1,5", "1e",  "-1e999", "1e5.5", "2.5f"};
    double value = 99;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(parse_f64(bad[i], -INFINITY, INFINITY, &value));
    }
    assert_false(parse_f64(NULL, 0, 1, &value));
    assert_false(parse_f64("1.5", 0, 1, &value));
    assert_true(value == 99);
    assert_true(parse_f64("0.25", 0, 1, &value) && value == 0.25);
    assert_true(parse_f64("+.5", 0, 1, &value) && value == 0.5);
    assert_true(parse_f64("-1e-3", -1, 1, &value) && value == -1e-3);
    assert_true(parse_f64("1e-400", 0, 1, &value) && value == 0);
}

static void booleans(void **state)
{
    bool value = false;

    (void)state;
    assert_true(parse_bool("yes", &value) && value);
    assert_true(parse_bool("off", &value) && !value);
    assert_true(parse_bool("1", &value) && value);
    assert_false(parse_bool("True", &value));
    assert_false(parse_bool("", &value));
    assert_false(parse_bool(NULL, &value));
    assert_true(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(unsigned_integers),
        cmocka_unit_test(reals),
        cmocka_unit_test(booleans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
