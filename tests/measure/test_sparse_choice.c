/* The choice of zeros by layer, against all choices there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "measure/sparse_choice.h"
#include "support/sample.h"

enum { LAYERS = 3, CASES = 60 };

typedef sparse_point table[LAYERS][SPARSE_LEVELS];

/* Damage that grows ever faster, time that falls. */
static void fill(spry_random *r, table points)
{
    for (int i = 0; i < LAYERS; i++) {
        double size = 1.0 + 9.0 * spry_random_f64(r);
        double tender = 0.1 + spry_random_f64(r);

        for (int k = 0; k < SPARSE_LEVELS; k++) {
            double share = (double)k / SPARSE_LEVELS;

            points[i][k] = (sparse_point){tender * share * share * size, size * (1.0 - 0.8 * share),
                                          share * size};
        }
    }
}

static bool fits(const sparse_point *sum, const sparse_wish *wish)
{
    return sum->ms <= wish->ms && sum->zeros >= wish->zeros;
}

/* The least damage of all choices that fit; infinite when none does. */
static double least_damage(table points, const sparse_wish *wish)
{
    double best = INFINITY;

    for (int at = 0; at < SPARSE_LEVELS * SPARSE_LEVELS * SPARSE_LEVELS; at++) {
        int levels[LAYERS] = {at % SPARSE_LEVELS, at / SPARSE_LEVELS % SPARSE_LEVELS,
                              at / SPARSE_LEVELS / SPARSE_LEVELS};
        sparse_point sum = sparse_sum((const sparse_point(*)[SPARSE_LEVELS])points, LAYERS, levels);

        best = fits(&sum, wish) && sum.damage < best ? sum.damage : best;
    }
    return best;
}

static void choices_fit_and_are_good(void **state)
{
    spry_random r = spry_random_stream(81, 0);

    (void)state;
    for (int i = 0; i < CASES; i++) {
        table points;
        int levels[LAYERS];
        int dense[LAYERS] = {0};
        sparse_point all;
        sparse_wish wish;
        double best;

        fill(&r, points);
        all = sparse_sum((const sparse_point(*)[SPARSE_LEVELS])points, LAYERS, dense);
        wish = (sparse_wish){all.ms * (0.25 + 0.8 * spry_random_f64(&r)),
                             all.ms * 0.9 * spry_random_f64(&r)};
        best = least_damage(points, &wish);
        if (sparse_choose((const sparse_point(*)[SPARSE_LEVELS])points, LAYERS, &wish, levels)) {
            sparse_point sum =
                sparse_sum((const sparse_point(*)[SPARSE_LEVELS])points, LAYERS, levels);

            assert_true(fits(&sum, &wish));
            /* by prices, a step of one layer from the best */
            assert_true(sum.damage <= best + 3.0);
        } else {
            assert_true(best == INFINITY);
        }
    }
}

static void nothing_asked_is_nothing_done(void **state)
{
    spry_random r = spry_random_stream(82, 0);
    table points;
    int levels[LAYERS] = {1, 1, 1};
    sparse_wish wish = {.ms = 1e9, .zeros = 0.0};

    (void)state;
    fill(&r, points);
    assert_true(sparse_choose((const sparse_point(*)[SPARSE_LEVELS])points, LAYERS, &wish, levels));
    for (int i = 0; i < LAYERS; i++) {
        assert_int_equal(levels[i], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_fit_and_are_good),
        cmocka_unit_test(nothing_asked_is_nothing_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
