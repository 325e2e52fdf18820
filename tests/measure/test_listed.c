/* Costs of listed pixels: how many they are, and that they take time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "measure/listed.h"

static const conv_nhwc_problem layer = {.shape = {.channels = 16,
                                                  .in_h = 14,
                                                  .in_w = 14,
                                                  .out_h = 14,
                                                  .out_w = 14,
                                                  .kernel_h = 3,
                                                  .kernel_w = 3,
                                                  .stride_h = 1,
                                                  .stride_w = 1,
                                                  .dilation_h = 1,
                                                  .dilation_w = 1,
                                                  .pad_h = 1,
                                                  .pad_w = 1},
                                        .batch = 2,
                                        .groups = 1,
                                        .filters = 24};

static void pixels_follow_the_density(void **state)
{
    static const brgemm_type types[] = {BRGEMM_F32, BRGEMM_BF16, BRGEMM_S8};

    (void)state;
    for (int i = 0; i < 3; i++) {
        conv_nhwc_problem p = layer;
        listed_cost cost = {0};

        p.type = types[i];
        assert_int_equal(listed_measure(NULL, &p, 4, 1.0, 1, 2, &cost, NULL), SPRY_OK);
        assert_int_equal(cost.pixels, 2 * 14 * 14);
        assert_true(cost.milliseconds > 0.0);
        assert_int_equal(listed_measure(NULL, &p, 4, 0.0, 1, 1, &cost, NULL), SPRY_OK);
        assert_int_equal(cost.pixels, 0);
        assert_int_equal(listed_measure(NULL, &p, 1, 0.5, 1, 1, &cost, NULL), SPRY_OK);
        assert_in_range(cost.pixels, 140, 250);
    }
}

static void bad_wishes_are_refused(void **state)
{
    listed_cost cost;
    spry_error error = {0};

    (void)state;
    assert_int_equal(listed_measure(NULL, &layer, 0, 0.5, 1, 1, &cost, &error), SPRY_USAGE);
    assert_int_equal(listed_measure(NULL, &layer, 4, 1.5, 1, 1, &cost, &error), SPRY_USAGE);
    assert_int_equal(listed_measure(NULL, &layer, 4, -0.5, 1, 1, &cost, &error), SPRY_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_follow_the_density),
        cmocka_unit_test(bad_wishes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
