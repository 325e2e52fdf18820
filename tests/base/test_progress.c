/* Reports reach the caller and can cancel; the meter is steady; the line fits its width. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/progress.h"

static bool stop_at_half(void *context, const char *task, double done, double total)
{
    assert_string_equal(task, "work");
    *(double *)context = done;
    return done < total / 2;
}

static void reports_and_cancels(void **state)
{
    double seen = 0;
    spry_progress progress = {stop_at_half, &seen};
    spry_progress nobody = {NULL, NULL};
    spry_error error;

    (void)state;
    assert_int_equal(progress_report(NULL, "work", 1, 2, &error), SPRY_OK);
    assert_int_equal(progress_report(&nobody, "work", 1, 2, &error), SPRY_OK);
    assert_int_equal(progress_report(&progress, "work", 4, 10, &error), SPRY_OK);
    assert_true(seen == 4);
    assert_int_equal(progress_report(&progress, "work", 5, 10, &error), SPRY_CANCELLED);
    assert_string_equal(error.where, "work");
}

static void the_meter_follows_the_speed(void **state)
{
    const int64_t second = 1000000000;
    progress_meter meter;
    int64_t now = 5 * second;
    double done = 0;

    (void)state;
    progress_meter_start(&meter, now);
    assert_true(progress_meter_remaining(&meter, 100) == -1);
    progress_meter_update(&meter, now, 0);
    progress_meter_update(&meter, now, 5);
    assert_true(progress_meter_remaining(&meter, 100) == -1);
    for (int i = 0; i < 20; i++) {
        now += second / 10;
        done += 1;
        progress_meter_update(&meter, now, done);
    }
    assert_true(fabs(meter.rate - 10) < 1e-6);
    assert_true(fabs(progress_meter_remaining(&meter, 100) - 8) < 1e-6);
    assert_true(progress_meter_remaining(&meter, 0) == -1);
    assert_true(progress_meter_remaining(&meter, 3) == 0);
    for (int i = 0; i < 30; i++) {
        now += second;
        done += 2;
        progress_meter_update(&meter, now, done);
    }
    assert_true(fabs(meter.rate - 2) < 0.01);
}

static void check_line(int width, const char *task, double done, double total,
                       const progress_meter *meter, const char *expected)
{
    char line[200];

    progress_line(line, sizeof line, width, task, done, total, meter);
    assert_string_equal(line, expected);
}

static void the_line_fits(void **state)
{
    progress_meter meter = {.last_done = 50, .rate = 12.5};
    progress_meter slow = {.last_done = 50, .rate = 0.005};

    (void)state;
    check_line(40, "conv", 50, 100, NULL, "conv  [#############-------------]   50%");
    check_line(50, "conv", 50, 100, &meter, "conv  [########---------]   50%  12.5/s  0:04 left");
    check_line(60, "conv", 50, 100, &slow,
               "conv  [############-------------]   50%  0.0/s  2:46:40 left");
    check_line(40, "conv", 1234, 0, &meter, "conv  1234  12.5/s");
    check_line(40, "conv", 200, 100, NULL, "conv  [##########################]  100%");
    check_line(40, "conv", NAN, 100, NULL, "conv  [--------------------------]    0%");
    check_line(14, "conv", 50, 100, NULL, "conv   50%");
    check_line(9, "conv", 50, 100, NULL, "con   50%");
    check_line(6, "conv", 50, 100, NULL, "   50%");
    check_line(5, "conv", 50, 100, NULL, " 50%");
    check_line(3, "conv", 50, 100, NULL, " 50");
    check_line(0, "conv", 50, 100, NULL, "");
    check_line(-1, "conv", 50, 100, NULL, "");
    check_line(10, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 50, 100, NULL,
               "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9   50%");
    check_line(12, "a\x1b[\xff", 50, 100, NULL, "a?[?   50%");
}

static void every_width_is_kept(void **state)
{
    progress_meter meter = {.last_done = 50, .rate = 1e9};
    char line[200];

    (void)state;
    for (int width = 0; width < 150; width++) {
        progress_line(line, sizeof line, width, "a task with a rather long name, longer than most",
                      50, 1e12, &meter);
        assert_true((int)strlen(line) <= width);
    }
    for (size_t size = 1; size < 60; size++) {
        progress_line(line, size, 80, "task", 50, 100, &meter);
        assert_true(strlen(line) < size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_and_cancels),
        cmocka_unit_test(the_meter_follows_the_speed),
        cmocka_unit_test(the_line_fits),
        cmocka_unit_test(every_width_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
