/* The aggressor works as much as it is told, and files of the kernel are read as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "measure/aggressor.h"
#include "measure/contention.h"

static void nap(long ms)
{
    const struct timespec time = {.tv_nsec = ms * 1000000};

    (void)nanosleep(&time, NULL);
}

static void test_levels(void **state)
{
    aggressor *a = NULL;
    aggressor_work work;
    spry_error error = {0};
    (void)state;

    assert_int_equal(aggressor_start(-1, &a, &error), SPRY_USAGE);
    assert_int_equal(aggressor_start(6, &a, &error), SPRY_USAGE);
    assert_int_equal(aggressor_start(0, &a, &error), SPRY_OK);
    assert_null(a);
    aggressor_stop(a, &work);
    assert_true(work.share == 0.0 && work.cpu == -1);
    for (int level = 1; level <= AGGRESSOR_LEVELS; level += 4) {
        assert_int_equal(aggressor_start(level, &a, &error), SPRY_OK);
        assert_non_null(a);
        nap(60);
        aggressor_stop(a, &work);
        assert_true(work.gigabytes > 0.0 && work.steps > 0.0);
        assert_true(work.share > 0.0 && work.share <= 1.0);
    }
    assert_true(work.share > 0.9); /* at the last level it never sleeps */
}

static void test_parse(void **state)
{
    (void)state;
    assert_true(contention_parse_pressure(
                    "some avg10=1.50 avg60=0.70 avg300=0.22 total=12345678\nfull avg10=0.00 "
                    "avg60=0.00 avg300=0.00 total=99\n") == 12345678.0);
    assert_true(contention_parse_pressure("full avg10=0 total=9\n") == -1.0);
    assert_true(contention_parse_pressure("") == -1.0);
    assert_true(contention_parse_steal("cpu  614 198 110 265 36 0 6 554 0 0\ncpu0 1 2\n") == 554.0);
    assert_true(contention_parse_steal("cpu  614 198\n") == -1.0);
    assert_true(contention_parse_steal("") == -1.0);
}

static void test_read(void **state)
{
    contention c;
    contention_counts counts;
    (void)state;

    contention_open(&c);
    assert_true(strlen(c.counters) > 0 && strlen(c.traffic) > 0);
    assert_true(strlen(c.pressure) > 0 && strlen(c.steal) > 0);
    nap(2);
    assert_true(contention_read(&c, &counts) >= 0.002);
    assert_true(counts.references >= 0.0 && counts.waited >= 0.0 && counts.stolen >= 0.0);
    assert_true(c.has_counters || counts.misses == 0.0);
    contention_close(&c);
    contention_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_parse),
                                       cmocka_unit_test(test_read)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
