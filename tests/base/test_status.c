/* Errors carry whole texts, also when built from the error they replace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "spry/status.h"

static void statuses_have_names(void **state)
{
    (void)state;
    for (int i = SPRY_OK; i <= SPRY_CANCELLED; i++) {
        const char *name = spry_status_name((spry_status)i);

        assert_true(strlen(name) > 0);
        for (int k = SPRY_OK; k < i; k++) {
            assert_string_not_equal(name, spry_status_name((spry_status)k));
        }
    }
    assert_string_equal(spry_status_name((spry_status)99), "unknown status");
    assert_string_equal(spry_status_name((spry_status)-1), "unknown status");
}

static void details_are_filled_in(void **state)
{
    spry_error error;

    (void)state;
    assert_int_equal(spry_fail(&error, SPRY_IO, "a.onnx", "try again", "read %d of %d", 3, 7),
                     SPRY_IO);
    assert_int_equal(error.code, SPRY_IO);
    assert_string_equal(error.where, "a.onnx");
    assert_string_equal(error.what, "read 3 of 7");
    assert_string_equal(error.remedy, "try again");
    assert_int_equal(spry_fail(&error, SPRY_LIMIT, NULL, NULL, "x"), SPRY_LIMIT);
    assert_string_equal(error.where, "");
    assert_string_equal(error.remedy, "");
    assert_int_equal(spry_fail(NULL, SPRY_LIMIT, "a", "b", "%s", "c"), SPRY_LIMIT);
}

static void context_can_be_added(void **state)
{
    spry_error error;

    (void)state;
    (void)spry_fail(&error, SPRY_IO, "a.onnx", "try again", "cannot read");
    assert_int_equal(
        spry_fail(&error, SPRY_BAD_INPUT, error.where, error.remedy, "node 5: %s", error.what),
        SPRY_BAD_INPUT);
    assert_string_equal(error.where, "a.onnx");
    assert_string_equal(error.what, "node 5: cannot read");
    assert_string_equal(error.remedy, "try again");
}

static void long_texts_are_cut(void **state)
{
    static char many[3000];
    spry_error error;

    (void)state;
    memset(many, 'x', sizeof many - 1);
    (void)spry_fail(&error, SPRY_IO, many, many, "%s", many);
    assert_int_equal(strlen(error.where), SPRY_ERROR_WHERE_SIZE - 1);
    assert_int_equal(strlen(error.what), SPRY_ERROR_WHAT_SIZE - 1);
    assert_int_equal(strlen(error.remedy), SPRY_ERROR_REMEDY_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_names),
        cmocka_unit_test(details_are_filled_in),
        cmocka_unit_test(context_can_be_added),
        cmocka_unit_test(long_texts_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
