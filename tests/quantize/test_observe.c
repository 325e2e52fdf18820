/* Streaming ranges of activations. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quantize/calibrate/observe.h"
#include "spry/random.h"

enum { COUNT = 4000 };

static observer first, second;

static void worked_example(void **state)
{
    static const float x[] = {-1.0f, -0.6f, 0.0f, 0.5f, 2.0f};
    tensor_grid grid;

    (void)state;
    memset(&first, 0, sizeof first);
    observe(&first, x, 5);
    grid = observe_grid(&first, OBSERVE_MINMAX, SPRY_DTYPE_U8, 8);
    assert_float_equal(grid.step, 3.0f / 255.0f, 1e-9);
    assert_int_equal(grid.zero, 85);
    grid = observe_grid(&first, OBSERVE_MINMAX, SPRY_DTYPE_I8, 8);
    assert_int_equal(grid.zero, 85 - 128);
    grid = observe_grid(&first, OBSERVE_MINMAX, SPRY_DTYPE_U8, 4);
    assert_float_equal(grid.step, 3.0f / 15.0f, 1e-9);
    assert_int_equal(grid.zero, 5);
    assert_int_equal(tensor_grid_codes(&grid).high, 15);
    grid = observe_grid(&first, OBSERVE_MINMAX, SPRY_DTYPE_I8, 4);
    assert_int_equal(grid.zero, 5 - 8);
    assert_int_equal(tensor_grid_codes(&grid).low, -8);
}

/* Neither the order of numbers nor how they are cut into calls matters. */
static void order_does_not_matter(void **state)
{
    spry_random r = spry_random_stream(3, 0);
    float *x = malloc(COUNT * sizeof *x);

    (void)state;
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(spry_random_normal(&r) * exp2(spry_random_normal(&r) * 3.0));
    }
    observe(&first, x, COUNT);
    for (int i = COUNT; i > 0; i -= 7) {
        int begin = i > 7 ? i - 7 : 0;

        observe(&second, x + begin, i - begin);
    }
    assert_int_equal(first.count, COUNT);
    assert_memory_equal(first.bins, second.bins, sizeof first.bins);
    assert_float_equal(first.reach, second.reach, 0.0);
    assert_float_equal(first.low, second.low, 0.0);
    assert_float_equal(first.high, second.high, 0.0);
    free(x);
}

/* A few outliers cost the extremes, not everybody's precision. */
static void outliers_are_cut(void **state)
{
    spry_random r = spry_random_stream(5, 0);
    float step[3];

    (void)state;
    memset(&first, 0, sizeof first);
    for (int i = 0; i < 100 * COUNT; i++) {
        float x = (float)spry_random_normal(&r);

        x = i == COUNT ? 60.0f : x;
        observe(&first, &x, 1);
    }
    for (int range = OBSERVE_MINMAX; range <= OBSERVE_MSE; range++) {
        step[range] = observe_grid(&first, (observe_range)range, SPRY_DTYPE_U8, 8).step;
    }
    assert_true(step[OBSERVE_MINMAX] > 60.0f / 255.0f);
    assert_true(step[OBSERVE_PERCENTILE] < 9.0f / 255.0f);
    assert_true(step[OBSERVE_MSE] < step[OBSERVE_MINMAX]);
}

static void odd_numbers(void **state)
{
    static const float x[] = {NAN, INFINITY, -INFINITY, 1.0f};
    static const float zeros[] = {0.0f, 0.0f};
    tensor_grid grid;

    (void)state;
    memset(&first, 0, sizeof first);
    grid = observe_grid(&first, OBSERVE_MSE, SPRY_DTYPE_U8, 8);
    assert_float_equal(grid.step, 1.0f, 0.0);
    observe(&first, zeros, 2);
    grid = observe_grid(&first, OBSERVE_MSE, SPRY_DTYPE_U8, 8);
    assert_float_equal(grid.step, 1.0f, 0.0);
    assert_int_equal(grid.zero, 0);
    observe(&first, x, 4);
    assert_int_equal(first.odd, 3);
    grid = observe_grid(&first, OBSERVE_MINMAX, SPRY_DTYPE_U8, 8);
    assert_float_equal(grid.step, 1.0f / 255.0f, 1e-9);
}

/* A bell with a few numbers far out: entropy leaves them out, and keeps all of a flat range. */
static void entropy_ignores_outliers(void **state)
{
    spry_random r = spry_random_stream(5, 0);
    float *x = malloc(COUNT * sizeof *x);
    tensor_grid all;
    tensor_grid clamped;

    (void)state;
    spry_random_fill_normal(&r, x, COUNT, 0.0f, 1.0f);
    memset(&first, 0, sizeof first);
    for (int i = 0; i < 20; i++) {
        observe(&first, x, COUNT);
    }
    observe(&first, (const float[]){-40.0f, 60.0f}, 2);
    all = observe_grid(&first, OBSERVE_MINMAX, SPRY_DTYPE_U8, 8);
    clamped = observe_grid(&first, OBSERVE_ENTROPY, SPRY_DTYPE_U8, 8);
    assert_float_equal(all.step, 100.0f / 255.0f, 1e-4);
    assert_true(clamped.step < 0.25f * all.step);
    assert_true(clamped.step * 255.0f > 4.0f); /* +- 2 at least */
    memset(&first, 0, sizeof first);
    for (int i = 0; i < 200; i++) {
        spry_random_fill_uniform(&r, x, COUNT, 0.0f, 1.0f);
        observe(&first, x, COUNT);
    }
    clamped = observe_grid(&first, OBSERVE_ENTROPY, SPRY_DTYPE_U8, 8);
    assert_true(clamped.step * 255.0f > 0.9f);
    memset(&first, 0, sizeof first); /* nothing, and only zeros */
    (void)observe_grid(&first, OBSERVE_ENTROPY, SPRY_DTYPE_U8, 8);
    observe(&first, (const float[]){0.0f, 0.0f}, 2);
    assert_float_equal(observe_grid(&first, OBSERVE_ENTROPY, SPRY_DTYPE_U8, 8).step, 1.0f, 0.0);
    free(x);
}

static void ranges_have_names(void **state)
{
    observe_range range;

    (void)state;
    assert_int_equal(observe_range_find("entropy", &range, NULL), SPRY_OK);
    assert_int_equal(range, OBSERVE_ENTROPY);
    assert_int_equal(observe_range_find("best", &range, NULL), SPRY_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example),           cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(outliers_are_cut),         cmocka_unit_test(odd_numbers),
        cmocka_unit_test(entropy_ignores_outliers), cmocka_unit_test(ranges_have_names),
    };

    return cmocka_run_group_tests_name("quantize/observe", tests, NULL, NULL);
}
