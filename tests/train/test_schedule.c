/* Schedules at steps that can be computed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "train/schedule.h"

static void expect(const schedule *s, int64_t t, double right)
{
    double got = schedule_at(s, t);

    if (!(fabs(got - right) < 1e-12)) {
        fail_msg("step %lld: %.12g, not %.12g", (long long)t, got, right);
    }
}

static void test_cosine(void **state)
{
    schedule s = {.kind = SCHEDULE_COSINE, .base = 0.1, .warm_up = 5, .total = 20};

    (void)state;
    expect(&s, 0, 0.02);
    expect(&s, 4, 0.1);
    expect(&s, 5, 0.1);
    expect(&s, 10, 0.075);
    expect(&s, 20, 0.0);
    expect(&s, 1000, 0.0);
    s.least = 0.04;
    expect(&s, 20, 0.04);
    s.warm_up = 20; /* nothing is left for the fall */
    expect(&s, 19, 0.1);
    expect(&s, 20, 0.04);
}

static void test_others(void **state)
{
    static const int64_t milestones[] = {3, 6};
    schedule s = {.kind = SCHEDULE_CONSTANT, .base = 8.0, .total = 10, .gamma = 0.5, .every = 3};

    (void)state;
    expect(&s, 0, 8.0);
    expect(&s, 99, 8.0);
    s.kind = SCHEDULE_STEPS;
    expect(&s, 2, 8.0);
    expect(&s, 3, 4.0);
    expect(&s, 8, 2.0);
    s.kind = SCHEDULE_MILESTONES;
    s.milestones = milestones;
    s.milestone_count = 2;
    expect(&s, 2, 8.0);
    expect(&s, 3, 4.0);
    expect(&s, 6, 2.0);
    expect(&s, 60, 2.0);
    s.kind = SCHEDULE_EXPONENTIAL;
    expect(&s, 0, 8.0);
    expect(&s, 3, 1.0);
    s.warm_up = 2;
    expect(&s, 0, 4.0);
    expect(&s, 2, 8.0);
    expect(&s, 3, 4.0);
    s.warm_up = 0;
    s.kind = SCHEDULE_POLYNOMIAL;
    s.least = 2.0;
    s.power = 1.0;
    expect(&s, 5, 5.0);
    expect(&s, 10, 2.0);
    s.power = 2.0;
    expect(&s, 5, 3.5);
    s.kind = SCHEDULE_ONE_CYCLE;
    s.total = 100;
    expect(&s, 0, 0.32);
    expect(&s, 15, (0.32 + 8.0) / 2.0);
    expect(&s, 30, 8.0);
    expect(&s, 65, 5.0);
    expect(&s, 100, 2.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
