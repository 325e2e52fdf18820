/* What must hold of every set of flows and of every schedule, whatever they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/metro/baseline.h"
#include "simulate/metro/network.h"
#include "simulate/metro/replay.h"
#include "simulate/metro/search.h"
#include "spry/random.h"

enum { MANY = 24 };

static const metro_options plain = {.flit_bits = 8, .chunk_flits = 5};

static spry_status put(metro_flows *f, bool is_reduce, int one, int *many, int count, int64_t bytes)
{
    const metro_flow flow = {.id = f->count,
                             .is_reduce = is_reduce,
                             .one = one,
                             .many = many,
                             .count = count,
                             .bytes = bytes,
                             .due = METRO_CYCLE_MOST};

    return metro_flows_add(f, &flow, NULL);
}

static void put_random(metro_flows *f, int64_t scale, spry_random *random)
{
    uint64_t nodes = (uint64_t)(f->width * f->height);
    int many[4];
    int count = 1 + (int)spry_random_below(random, 4);
    bool is_reduce = spry_random_below(random, 3) == 0;
    int one = (int)spry_random_below(random, nodes);

    for (int k = 0; k < count; k++) {
        many[k] = (int)spry_random_below(random, nodes);
    }
    assert_int_equal(
        put(f, is_reduce, one, many, count, scale * (1 + (int64_t)spry_random_below(random, 40))),
        SPRY_OK);
}

static metro_schedule rows_first(const metro_flows *f, const metro_options *o)
{
    metro_route routes[MANY];
    metro_schedule s;

    for (int i = 0; i < f->count; i++) {
        routes[i] = (metro_route){f->items[i].one, false, false};
    }
    assert_int_equal(metro_schedule_make(f, o, routes, NULL, &s, NULL), SPRY_OK);
    return s;
}

/* One more flow never lowers a bound, nor the floor. */
static void test_bounds_grow(void **state)
{
    spry_random random = spry_random_stream(21, 0);

    (void)state;
    for (int round = 0; round < 20; round++) {
        int64_t bound = 0;
        int64_t floor = 0;
        metro_flows f;
        arena memory;

        arena_init(&memory, NULL, SIZE_MAX);
        metro_flows_init(&f, 2 + round % 4, 4);
        for (int i = 0; i < MANY; i++) {
            metro_schedule s;

            put_random(&f, 1, &random);
            s = rows_first(&f, &plain);
            assert_true(s.bound >= bound && s.makespan >= s.bound);
            assert_true(metro_floor(&f, &plain, &memory) >= floor);
            bound = s.bound;
            floor = metro_floor(&f, &plain, &memory);
            assert_true(bound >= floor);
            metro_schedule_fini(&s);
        }
        metro_flows_fini(&f);
        arena_fini(&memory);
    }
}

/* All sizes times 7: the busiest link carries 7 times the flits, its ways in and out stay. */
static void test_bounds_scale(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        spry_random random = spry_random_stream(22, round);
        spry_random again = random;
        metro_flows f;
        metro_flows large;
        metro_schedule one;
        metro_schedule seven;
        int64_t ways = (int64_t)METRO_HOP * (4 + 4 + 2);

        metro_flows_init(&f, 4, 4);
        metro_flows_init(&large, 4, 4);
        for (int i = 0; i < MANY; i++) {
            put_random(&f, 1, &random);
            put_random(&large, 7, &again);
        }
        one = rows_first(&f, &plain);
        seven = rows_first(&large, &plain);
        assert_true(seven.bound <= 7 * one.bound && seven.bound >= 7 * (one.bound - ways));
        metro_schedule_fini(&one);
        metro_schedule_fini(&seven);
        metro_flows_fini(&f);
        metro_flows_fini(&large);
    }
}

/* Each pair of uses of a link, one by one: none overlap, and what is reserved is their union. */
static void test_every_pair(void **state)
{
    spry_random random = spry_random_stream(23, 0);

    (void)state;
    for (int round = 0; round < 10; round++) {
        metro_flows f;
        metro_schedule s;

        metro_flows_init(&f, 3, 4);
        for (int i = 0; i < MANY; i++) {
            put_random(&f, 1, &random);
        }
        s = rows_first(&f, &plain);
        for (int link = 0; link < s.link_count; link++) {
            metro_interval uses[MANY * 16];
            int count = 0;
            int64_t used = 0;
            int64_t reserved = 0;

            for (size_t i = 0; i < s.count; i++) {
                const metro_tree *tree = s.trees[s.items[i].flow];

                for (int k = 0; k < tree->count; k++) {
                    int64_t start = s.items[i].start + (int64_t)METRO_HOP * tree->steps[k].depth;

                    if (tree->steps[k].link == link) {
                        uses[count++] = (metro_interval){start, start + s.items[i].flits};
                    }
                }
            }
            for (int a = 0; a < count; a++) {
                used += uses[a].end - uses[a].start;
                for (int b = 0; b < a; b++) {
                    assert_true(uses[a].end <= uses[b].start || uses[b].end <= uses[a].start);
                }
            }
            for (size_t i = 0; i < s.links[link].count; i++) {
                reserved += s.links[link].items[i].end - s.links[link].items[i].start;
            }
            assert_int_equal(used, reserved);
        }
        metro_schedule_fini(&s);
        metro_flows_fini(&f);
    }
}

/* A tree enters every node at most once, and every other end is left once. */
static void test_trees(void **state)
{
    spry_random random = spry_random_stream(24, 0);

    (void)state;
    for (int round = 0; round < 200; round++) {
        metro_route routes[METRO_ROUTES_MOST];
        metro_flows f;
        arena memory;
        int count;

        arena_init(&memory, NULL, SIZE_MAX);
        metro_flows_init(&f, 5, 4);
        put_random(&f, 1, &random);
        count = metro_routes(&f, &f.items[0], routes);
        for (int n = 0; n < count; n++) {
            metro_tree tree;
            int links[20 * METRO_LINKS] = {0};
            int between = 0;
            int ends = 0;

            assert_int_equal(metro_tree_make(&f, &f.items[0], &routes[n], &memory, &tree, NULL),
                             SPRY_OK);
            for (int i = 0; i < tree.count; i++) {
                int way = tree.steps[i].link % METRO_LINKS;

                assert_int_equal(links[tree.steps[i].link]++, 0);
                assert_true(tree.steps[i].depth >= 0 && tree.steps[i].depth <= tree.depth);
                between += way < METRO_INJECT;
                ends += way == (f.items[0].is_reduce ? METRO_INJECT : METRO_EJECT);
            }
            assert_int_equal(ends, f.items[0].count);
            assert_true(f.items[0].count == 0 || tree.count == between + ends + 1);
        }
        metro_flows_fini(&f);
        arena_fini(&memory);
    }
}

/* Six flows in every order, along rows: the search, which also has other routes, is as good. */
static void test_orders_of_six(void **state)
{
    spry_random random = spry_random_stream(25, 0);
    metro_search_options settings = metro_search_options_default();
    metro_route routes[6];
    int64_t best = INT64_MAX;
    metro_flows f;
    metro_found found;
    arena memory;

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    metro_flows_init(&f, 3, 3);
    for (int i = 0; i < 6; i++) {
        put_random(&f, 1, &random);
        routes[i] = (metro_route){f.items[i].one, false, false};
    }
    for (int n = 0; n < 720; n++) {
        int left[6] = {0, 1, 2, 3, 4, 5};
        int64_t order[6];
        metro_schedule s;

        for (int i = 0, code = n; i < 6; code /= 6 - i, i++) {
            int at = code % (6 - i);

            order[left[at]] = i;
            memmove(&left[at], &left[at + 1], (size_t)(5 - i - at) * sizeof *left);
        }
        assert_int_equal(metro_schedule_make(&f, &plain, routes, order, &s, NULL), SPRY_OK);
        best = s.makespan < best ? s.makespan : best;
        metro_schedule_fini(&s);
    }
    assert_int_equal(metro_search(&f, &plain, &settings, &memory, &found, NULL), SPRY_OK);
    assert_true(found.makespan <= best);
    metro_flows_fini(&f);
    arena_fini(&memory);
}

/* Nothing to move ends at once; what is due before it may start is late, and no error. */
static void test_edges(void **state)
{
    const metro_flow late = {.many = (int[]){3}, .count = 1, .bytes = 8, .release = 100, .due = 50};
    metro_flows f;
    metro_schedule s;

    (void)state;
    metro_flows_init(&f, 4, 1);
    assert_int_equal(put(&f, false, 0, (int[]){3}, 1, 0), SPRY_OK);
    assert_int_equal(put(&f, false, 2, (int[]){2}, 1, 99), SPRY_OK);
    s = rows_first(&f, &plain);
    assert_true(s.makespan == 0 && s.flit_links == 0 && s.count == 0);
    metro_schedule_fini(&s);
    assert_int_equal(metro_flows_add(&f, &late, NULL), SPRY_OK);
    s = rows_first(&f, &plain);
    assert_int_equal(s.makespan, 100 + METRO_HOP * 4 + 8);
    assert_int_equal(s.tardiness, s.makespan - 50);
    metro_schedule_fini(&s);
    assert_int_equal(put(&f, false, 0, (int[]){4}, 1, 1), SPRY_USAGE);
    assert_int_equal(put(&f, false, 0, (int[]){1}, 1, -1), SPRY_USAGE);
    metro_flows_fini(&f);
}

/* A row, nearest first: the packet to the farthest waits for both others, 18 + 30; the schedule
 * takes 16. Without memory there is no traffic to be had. */
static void test_row(void **state)
{
    const mesh_options network = {
        .width = 4, .height = 4, .channels = 4, .depth = 8, .routing_delay = 1};
    const simulate_layer l = {.images = 1,
                              .in_height = 1,
                              .in_width = 8,
                              .channels = 8,
                              .out_height = 1,
                              .out_width = 8,
                              .filters = 8,
                              .kernel_height = 1,
                              .kernel_width = 1,
                              .stride_height = 1,
                              .stride_width = 1,
                              .dilation_height = 1,
                              .dilation_width = 1,
                              .groups = 1};
    metro_tiles tiles;
    metro_baseline packets;
    metro_flows f;
    metro_schedule s;

    (void)state;
    metro_flows_init(&f, 4, 4);
    assert_int_equal(put(&f, false, 0, (int[]){1, 2, 3}, 3, 8), SPRY_OK);
    assert_int_equal(metro_packets(&f, &plain, &network, METRO_EACH, &packets, NULL), SPRY_OK);
    assert_int_equal(packets.makespan, 48);
    s = rows_first(&f, &(metro_options){.flit_bits = 8, .chunk_flits = 64});
    assert_int_equal(s.makespan, 16);
    metro_schedule_fini(&s);
    metro_tiles_default(&tiles, 4, 4);
    tiles.port_count = 0;
    assert_int_equal(metro_layer_flows(&f, &l, &tiles, metro_parts_of(&l, 4, 4), NULL), SPRY_USAGE);
    metro_flows_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_grow),   cmocka_unit_test(test_bounds_scale),
        cmocka_unit_test(test_every_pair),    cmocka_unit_test(test_trees),
        cmocka_unit_test(test_orders_of_six), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
