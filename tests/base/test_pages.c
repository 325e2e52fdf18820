/* Memory comes, goes and comes back where it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pages.h"

static void memory_comes_and_goes(void **state)
{
    static const size_t sizes[] = {1, 4095, 4096, 4097, 300000, 1 << 20};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *bytes = pages_reserve(sizes[i]);

        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % 4096, 0);
        for (int round = 0; round < 2; round++) {
            assert_true(pages_fill(bytes, sizes[i]));
            assert_int_equal(bytes[0], 0);
            assert_int_equal(bytes[sizes[i] - 1], 0);
            bytes[0] = 1;
            bytes[sizes[i] - 1] = 2;
            assert_int_equal(bytes[0], sizes[i] > 1 ? 1 : 2);
            pages_empty(bytes, sizes[i]);
        }
        pages_release(bytes, sizes[i]);
    }
    pages_release(NULL, 1);
    assert_null(pages_reserve(SIZE_MAX / 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_and_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
