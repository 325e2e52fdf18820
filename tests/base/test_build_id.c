/* The build's identifier: there, and the same whenever asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/build_id.h"

static void is_known(void **state)
{
    (void)state;
    assert_true(build_id() != 0);
    assert_true(build_id() == build_id());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_known)};

    return cmocka_run_group_tests_name("base/build_id", tests, NULL, NULL);
}
