/* Scheduled networks: the examples worked out by hand, and what must hold of every schedule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "simulate/metro/replay.h"
#include "spry/random.h"

enum { FLITS = 8, MANY = 64 };

static const metro_options plain = {.flit_bits = 8, .chunk_flits = 64};

static void put(metro_flows *f, bool is_reduce, int one, int *many, int count, int64_t bytes)
{
    metro_flow flow = {.id = f->count,
                       .is_reduce = is_reduce,
                       .one = one,
                       .many = many,
                       .count = count,
                       .bytes = bytes,
                       .due = METRO_CYCLE_MOST};

    assert_int_equal(metro_flows_add(f, &flow, NULL), SPRY_OK);
}

/* The makespan with routes along rows, in an order, after every check there is. */
static metro_schedule checked(const metro_flows *f, const metro_options *o, const int64_t *order,
                              const int *choice)
{
    metro_route routes[MANY];
    metro_schedule s;
    metro_program p;
    metro_replayed replayed;
    spry_error error = {0};

    for (int i = 0; i < f->count; i++) {
        metro_route all[METRO_ROUTES_MOST];
        int count = metro_routes(f, &f->items[i], all);

        assert_true(count >= 2);
        routes[i] = all[choice == NULL ? 0 : choice[i] % count];
    }
    assert_int_equal(metro_schedule_make(f, o, routes, order, &s, &error), SPRY_OK);
    for (int i = 0; i < s.link_count; i++) {
        for (size_t k = 1; k < s.links[i].count; k++) {
            assert_true(s.links[i].items[k - 1].end < s.links[i].items[k].start);
        }
    }
    assert_true(s.makespan >= s.bound);
    assert_int_equal(metro_program_make(&s, &p, &error), SPRY_OK);
    if (metro_replay(&s, &p, &replayed, &error) != SPRY_OK) {
        fail_msg("%s", error.what);
    }
    assert_int_equal(replayed.finish, s.makespan);
    assert_int_equal(replayed.flit_links, s.flit_links);
    metro_program_fini(&p);
    return s;
}

static int64_t makespan(const metro_flows *f, const int64_t *order)
{
    metro_schedule s = checked(f, &plain, order, NULL);
    int64_t cycles = s.makespan;

    metro_schedule_fini(&s);
    return cycles;
}

static void test_row_multicast(void **state)
{
    metro_flows f;

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, (int[]){1, 2, 3, 3, 0}, 5, FLITS);
    assert_int_equal(makespan(&f, NULL), 16);
    metro_flows_fini(&f);
}

static void test_shared_link(void **state)
{
    metro_flows f;

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, (int[]){3}, 1, FLITS);
    put(&f, false, 1, (int[]){3}, 1, FLITS);
    assert_int_equal(makespan(&f, (int64_t[]){0, 1}), 24);
    assert_int_equal(makespan(&f, (int64_t[]){1, 0}), 22);
    metro_flows_fini(&f);
}

static void test_reduction_in_a_row(void **state)
{
    metro_flows f;
    metro_schedule s;
    int64_t starts[4] = {0};

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, true, 0, (int[]){1, 2, 3}, 3, FLITS);
    s = checked(&f, &plain, NULL, NULL);
    assert_int_equal(s.makespan, 16);
    for (int i = 0; i < s.trees[0]->count; i++) {
        const metro_step *step = &s.trees[0]->steps[i];

        if (step->link % METRO_LINKS == METRO_INJECT) {
            starts[step->link / METRO_LINKS] = (int64_t)METRO_HOP * step->depth;
        }
    }
    assert_int_equal(starts[1], 4);
    assert_int_equal(starts[2], 2);
    assert_int_equal(starts[3], 0);
    metro_schedule_fini(&s);
    metro_flows_fini(&f);
    metro_flows_init(&f, 4, 4);
    for (int i = 1; i < 4; i++) {
        put(&f, false, i, (int[]){0}, 1, FLITS);
    }
    assert_int_equal(makespan(&f, (int64_t[]){0, 1, 2}), 28);
    metro_flows_fini(&f);
}

static void test_opposite_directions(void **state)
{
    metro_flows f;

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, (int[]){3}, 1, FLITS);
    put(&f, false, 3, (int[]){0}, 1, FLITS);
    assert_int_equal(makespan(&f, NULL), 16);
    metro_flows_fini(&f);
}

static void test_hot_spot(void **state)
{
    metro_flows f;
    int64_t nearest[MANY];
    int64_t farthest[MANY];

    (void)state;
    metro_flows_init(&f, 4, 4);
    for (int i = 0; i < 16; i++) {
        put(&f, false, i, (int[]){0}, 1, 4);
        nearest[i] = i % 4 + i / 4;
        farthest[i] = -nearest[i];
    }
    assert_int_equal(makespan(&f, nearest), 64);
    assert_int_equal(makespan(&f, farthest), 66);
    assert_true(makespan(&f, NULL) <= 68);
    metro_flows_fini(&f);
}

/* Flows, meshes, routes and orders at random: replay finds what was foretold. */
static void test_random_schedules(void **state)
{
    spry_random random = spry_random_stream(5, 0);

    (void)state;
    for (int round = 0; round < 200; round++) {
        int width = 1 + (int)spry_random_below(&random, 7);
        int height = 1 + (int)spry_random_below(&random, 7);
        uint64_t nodes = (uint64_t)(width * height);
        metro_options o = {.flit_bits = 16, .chunk_flits = 1 + (int)spry_random_below(&random, 9)};
        metro_flows f;
        metro_schedule s;
        int choice[MANY];
        int64_t order[MANY];

        metro_flows_init(&f, width, height);
        for (int i = 0; i < 12; i++) {
            int many[5];
            int count = 1 + (int)spry_random_below(&random, 5);

            for (int k = 0; k < count; k++) {
                many[k] = (int)spry_random_below(&random, nodes);
            }
            put(&f, spry_random_below(&random, 3) == 0, (int)spry_random_below(&random, nodes),
                many, count, 1 + (int64_t)spry_random_below(&random, 40));
            choice[i] = (int)spry_random_below(&random, METRO_ROUTES_MOST);
            order[i] = (int64_t)spry_random_below(&random, 12);
        }
        s = checked(&f, &o, round % 2 == 0 ? order : NULL, choice);
        metro_schedule_fini(&s);
        metro_flows_fini(&f);
    }
}

/* A start that is one cycle early is found, whichever of the two notices. */
static void test_replay_finds_a_wrong_start(void **state)
{
    metro_flows f;
    metro_schedule s;
    metro_program p;
    metro_replayed replayed;

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, (int[]){3}, 1, FLITS);
    put(&f, false, 1, (int[]){3}, 1, FLITS);
    s = checked(&f, &plain, NULL, NULL);
    assert_int_equal(metro_program_make(&s, &p, NULL), SPRY_OK);
    s.items[1].start--;
    assert_int_equal(metro_replay(&s, &p, &replayed, NULL), SPRY_INTERNAL);
    metro_program_fini(&p);
    assert_int_equal(metro_program_make(&s, &p, NULL), SPRY_OK);
    assert_int_equal(metro_replay(&s, &p, &replayed, NULL), SPRY_INTERNAL);
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    metro_flows_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_multicast),
        cmocka_unit_test(test_shared_link),
        cmocka_unit_test(test_reduction_in_a_row),
        cmocka_unit_test(test_opposite_directions),
        cmocka_unit_test(test_hot_spot),
        cmocka_unit_test(test_random_schedules),
        cmocka_unit_test(test_replay_finds_a_wrong_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
