/* Texts grow to their ceiling, remember failures, and escape for where they will stand. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/random.h"
#include "base/text.h"
#include "support/fault.h"

static void appends_and_grows(void **state)
{
    text t;
    spry_error error;

    (void)state;
    text_init(&t, NULL, 100000);
    assert_string_equal(t.data, "");
    text_append(&t, NULL, 0);
    assert_string_equal(t.data, "");
    for (int i = 0; i < 1000; i++) {
        text_append_format(&t, "%d,", i);
    }
    text_append_string(&t, "end");
    text_append_char(&t, '.');
    assert_int_equal(t.length, 3890 + 4);
    assert_int_equal(strlen(t.data), t.length);
    assert_memory_equal(t.data, "0,1,2,", 6);
    assert_string_equal(t.data + 3890, "end.");
    assert_int_equal(text_status(&t, "numbers", &error), SPRY_OK);
    text_clear(&t);
    assert_string_equal(t.data, "");
    text_fini(&t);
    text_append_string(&t, "again");
    assert_string_equal(t.data, "again");
    text_fini(&t);
}

static void stops_at_the_ceiling(void **state)
{
    text t;
    spry_error error;
    char buffer[4];

    (void)state;
    text_init(&t, NULL, 5);
    text_append_string(&t, "12345");
    assert_int_equal(text_status(&t, "digits", &error), SPRY_OK);
    text_append_string(&t, "6");
    text_append_format(&t, "%d", 7);
    assert_string_equal(t.data, "12345");
    assert_int_equal(text_status(&t, "digits", &error), SPRY_LIMIT);
    assert_string_equal(error.where, "digits");
    text_fini(&t);
    text_init_fixed(&t, buffer, sizeof buffer);
    text_append_string(&t, "ab");
    text_append_format(&t, "%s", "cd");
    text_append_char(&t, 'e');
    assert_string_equal(buffer, "ab");
    assert_true(t.failed);
    text_clear(&t);
    text_append_string(&t, "abc");
    assert_string_equal(buffer, "abc");
    assert_false(t.failed);
    text_fini(&t);
    text_init_fixed(&t, buffer, 1);
    text_append_char(&t, 'x');
    assert_string_equal(buffer, "");
}

static void check_escaped(text_escape how, const char *from, size_t length, const char *to)
{
    text t;

    text_init(&t, NULL, 1000);
    text_append_escaped(&t, how, from, length);
    assert_string_equal(t.data, to);
    text_fini(&t);
}

static void escapes(void **state)
{
    (void)state;
    check_escaped(TEXT_JSON, "a\"\\/\b\f\n\r\t\x01\0\x7f", 12,
                  "a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u0000\\u007f");
    check_escaped(TEXT_JSON, "\xc3\xa9\xff\xe2\x82", 5,
                  "\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    check_escaped(TEXT_MARKUP, "<a href=\"x\">&'\x02\n", 16,
                  "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\xef\xbf\xbd\n");
    check_escaped(TEXT_MARKUP, "\xf0\x9f\x98\x80\xc0\x80", 6,
                  "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd");
}

static void knows_utf8(void **state)
{
    static const char *const good[] = {"",
                                       "abc",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xe2\x82\x41",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "ok\xfe"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(text_is_utf8(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(text_is_utf8(bad[i], strlen(bad[i])));
    }
    assert_true(text_is_utf8("a\0b", 3));
}

static void check_number(double value, const char *expected)
{
    text t;

    text_init(&t, NULL, 100);
    text_append_f64(&t, value);
    assert_string_equal(t.data, expected);
    text_fini(&t);
}

static void numbers_read_back(void **state)
{
    static const double values[] = {0.1, 1.0 / 3, DBL_MAX, DBL_MIN, 4.9e-324, 123456789012345678.0};
    spry_random r = spry_random_stream(5, 0);

    (void)state;
    check_number(0, "0");
    check_number(-2.5, "-2.5");
    check_number(0.1, "0.1");
    check_number(1e300, "1e+300");
    check_number(NAN, "nan");
    check_number(INFINITY, "inf");
    check_number(-INFINITY, "-inf");
    for (size_t i = 0; i < 1000; i++) {
        uint64_t bits = spry_random_u64(&r);
        double value;
        text t;

        memcpy(&value, &bits, sizeof value);
        value = i < sizeof values / sizeof *values ? values[i] : value;
        if (!isfinite(value)) {
            continue;
        }
        text_init(&t, NULL, 100);
        text_append_f64(&t, value);
        assert_true(strtod(t.data, NULL) == value);
        text_fini(&t);
    }
}

static spry_status build(const spry_allocator *allocator, void *context, spry_error *error)
{
    text t;
    spry_status status;

    (void)context;
    text_init(&t, allocator, 10000);
    for (int i = 0; i < 300; i++) {
        text_append_format(&t, "%d ", i);
        text_append_escaped(&t, TEXT_JSON, "\"x\"", 3);
    }
    status = text_status(&t, "test", error);
    text_fini(&t);
    return status;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    assert_true(fault_sweep(build, NULL) > 5);
}

static void patterns(void **state)
{
    (void)state;
    assert_true(text_matches("*", ""));
    assert_true(text_matches("", ""));
    assert_true(text_matches("/stem/*", "/stem/conv/Conv"));
    assert_false(text_matches("/stem/*", "/steam/conv"));
    assert_true(text_matches("*conv?", "conv/conv1"));
    assert_false(text_matches("*conv?", "conv/conv"));
    assert_true(text_matches("a*b*c", "a--b-b--c"));
    assert_false(text_matches("a*b*c", "a--c--b"));
    assert_true(text_matches("**x**", "x"));
    assert_false(text_matches("?", ""));
    assert_true(text_matches("Conv #3", "Conv #3"));
}

/* RFC 4648, section 10; and bytes above 127. */
static void test_base64(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},        {"f", "Zg=="},          {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "//79"}};
    text t;

    (void)state;
    text_init(&t, NULL, 100);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_clear(&t);
        text_append_base64(&t, (const uint8_t *)cases[i][0], strlen(cases[i][0]));
        assert_string_equal(t.data, cases[i][1]);
    }
    text_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),          cmocka_unit_test(appends_and_grows),
        cmocka_unit_test(stops_at_the_ceiling), cmocka_unit_test(escapes),
        cmocka_unit_test(knows_utf8),           cmocka_unit_test(numbers_read_back),
        cmocka_unit_test(memory_may_run_out),   cmocka_unit_test(patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
