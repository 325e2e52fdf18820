/* Every loop does the multiply-adds and reads the bytes that it is said to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/peak/peak.h"
#include "spry/random.h"

static void multiply_adds_are_done(void **state)
{
    static const int64_t rounds[] = {0, 1, 7, 1000};

    (void)state;
    for (int v = 0; v < peak_variant_count; v++) {
        const peak_kernel *kernel = peak_variants[v].table;

        if (!peak_usable(&peak_variants[v])) {
            continue;
        }
        assert_string_equal(kernel->name, peak_variants[v].name);
        for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
            double wanted = (double)(rounds[i] * kernel->operations / 2);

            if (kernel->run(rounds[i]) != wanted) {
                fail_msg("%s does not multiply %g times", kernel->name, wanted);
            }
        }
    }
}

static void lines_are_read(void **state)
{
    enum { LINES = 37, WORDS = 8 };
    static uint64_t data[LINES * WORDS];
    spry_random r;

    (void)state;
    r = spry_random_stream(3, 0);
    for (int i = 0; i < LINES * WORDS; i++) {
        data[i] = spry_random_u64(&r);
    }
    for (size_t count = 0; count <= LINES; count++) {
        uint64_t wanted = 0;

        for (size_t i = 0; i < count * WORDS; i++) {
            wanted += data[i];
        }
        for (int v = 0; v < peak_read_variant_count; v++) {
            const peak_reader *reader = peak_read_variants[v].table;

            if (isa_usable(peak_read_variants[v].level)) {
                assert_true(reader->read(data, count) == wanted);
            }
        }
    }
}

static void the_best_one_is_chosen(void **state)
{
    (void)state;
    assert_non_null(peak_select(PEAK_F32));
    assert_non_null(peak_select(PEAK_S8));
    assert_int_equal(peak_select(PEAK_S8)->type, PEAK_S8);
    assert_non_null(peak_read_select());
    assert_true(peak_wait(10) == (uint64_t)10 * PEAK_CYCLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiply_adds_are_done),
        cmocka_unit_test(lines_are_read),
        cmocka_unit_test(the_best_one_is_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
