/* Temporary files: what is written in pieces is read back in others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/spill.h"

static void test_pieces(void **state)
{
    spill s;
    char back[8] = "";

    (void)state;
    assert_int_equal(spill_open(&s, NULL), SPRY_OK);
    assert_int_equal(spill_write(&s, 4, "efgh", 4, NULL), SPRY_OK);
    assert_int_equal(spill_write(&s, 0, "ab", 2, NULL), SPRY_OK);
    assert_int_equal(spill_read(&s, 0, back, 6, NULL), SPRY_OK);
    assert_memory_equal(back, "ab\0\0ef", 6);
    assert_int_equal(spill_read(&s, 6, back, 4, NULL), SPRY_IO);
    spill_close(&s);
    spill_close(&s);
}

static void test_no_folder(void **state)
{
    spill s;

    (void)state;
    assert_int_equal(setenv("TMPDIR", "/nowhere/at/all", 1), 0);
    assert_int_equal(spill_open(&s, NULL), SPRY_OK); /* elsewhere, then */
    spill_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_no_folder)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
