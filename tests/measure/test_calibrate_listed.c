/* Rank correlation; the calibration itself is run by tests/cli/predict.sh. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "measure/calibrate_listed.h"

static void ranks_correlate(void **state)
{
    static const double a[] = {1, 2, 3, 4};
    static const double same[] = {10, 20, 30, 31};
    static const double turned[] = {4, 3, 2, 1};
    static const double mixed[] = {1, 3, 2, 4}; /* 1 - 6 * 2 / (4 * 15) */

    (void)state;
    assert_true(calibrate_rank_correlation(a, same, 4) == 1);
    assert_true(calibrate_rank_correlation(a, turned, 4) == -1);
    assert_true(fabs(calibrate_rank_correlation(a, mixed, 4) - 0.8) < 1e-12);
    assert_true(calibrate_rank_correlation(a, same, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_correlate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
