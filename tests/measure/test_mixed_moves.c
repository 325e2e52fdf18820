/* The order in which layers go down in precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "measure/mixed_moves.h"
#include "spry/random.h"

enum { LAYERS = 40 };

static void check_move(const mixed_move *move, int32_t layer, int level, double ratio)
{
    assert_int_equal(move->layer, layer);
    assert_int_equal(move->level, level);
    assert_float_equal(move->ratio, ratio, 1e-12);
}

/* Layer 0 goes down in two steps; layer 1 at once, since its second step is the cheaper; layer 2
 * gains nothing by 8 bits; layer 3 may not move. */
static void worked_example(void **state)
{
    static const mixed_point points[][SPRY_MIXED_LEVELS] = {
        {{true, 0.0, 0.0}, {true, 2.0, 0.5}, {true, 3.0, 3.5}},
        {{true, 0.0, 0.0}, {true, 1.0, 2.0}, {true, 4.0, 4.0}},
        {{true, 0.0, 0.0}, {true, -1.0, 0.1}, {true, 2.0, 1.0}},
        {{true, 0.0, 0.0}, {false, 9.0, 0.0}, {false, 9.0, 0.0}},
    };
    mixed_move moves[4 * (SPRY_MIXED_LEVELS - 1)];

    (void)state;
    assert_int_equal(mixed_list_moves(points, 4, moves), 4);
    check_move(&moves[0], 0, 1, 0.25);
    check_move(&moves[1], 2, 2, 0.5);
    check_move(&moves[2], 1, 2, 1.0);
    check_move(&moves[3], 0, 2, 3.0);
}

/* Of equal harmless steps the one that gains more; infinite damage is no step. */
static void harmless_and_hopeless(void **state)
{
    static const mixed_point points[][SPRY_MIXED_LEVELS] = {
        {{true, 0.0, 0.0}, {true, 1.0, 0.0}, {true, 2.0, 0.0}},
        {{true, 0.0, 0.0}, {true, 1.0, 0.1}, {true, 2.0, INFINITY}},
    };
    mixed_move moves[2 * (SPRY_MIXED_LEVELS - 1)];

    (void)state;
    assert_int_equal(mixed_list_moves(points, 2, moves), 2);
    check_move(&moves[0], 0, 2, 0.0);
    check_move(&moves[1], 1, 1, 0.1);
    assert_int_equal(mixed_list_moves(points, 0, moves), 0);
}

/* Whatever the numbers: sorted, and every step of a layer gains on the one before it. */
static void always_in_order(void **state)
{
    spry_random r = spry_random_stream(5, 0);
    static mixed_point points[LAYERS][SPRY_MIXED_LEVELS];
    mixed_move moves[LAYERS * (SPRY_MIXED_LEVELS - 1)];

    (void)state;
    for (int round = 0; round < 50; round++) {
        int levels[LAYERS] = {0};

        for (int i = 0; i < LAYERS; i++) {
            for (int level = 0; level < SPRY_MIXED_LEVELS; level++) {
                points[i][level] = (mixed_point){level == 0 || spry_random_below(&r, 4) > 0,
                                                 level == 0 ? 0.0 : spry_random_normal(&r),
                                                 level == 0 ? 0.0 : fabs(spry_random_normal(&r))};
            }
        }
        int32_t count =
            mixed_list_moves((const mixed_point(*)[SPRY_MIXED_LEVELS])points, LAYERS, moves);
        for (int32_t i = 0; i < count; i++) {
            const mixed_move *m = &moves[i];

            assert_true(i == 0 || moves[i - 1].ratio <= m->ratio);
            assert_true(points[m->layer][m->level].is_allowed);
            assert_true(points[m->layer][m->level].gain > points[m->layer][levels[m->layer]].gain);
            levels[m->layer] = m->level;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example),
        cmocka_unit_test(harmless_and_hopeless),
        cmocka_unit_test(always_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
