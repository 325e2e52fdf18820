/* The search for schedules, the traffic of layers, and packets beside them. */
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

static const metro_options plain = {.flit_bits = 8, .chunk_flits = 64};

static void put(metro_flows *f, bool is_reduce, int one, int *many, int count, int64_t bytes)
{
    const metro_flow flow = {.id = f->count,
                             .is_reduce = is_reduce,
                             .one = one,
                             .many = many,
                             .count = count,
                             .bytes = bytes,
                             .due = METRO_CYCLE_MOST};

    assert_int_equal(metro_flows_add(f, &flow, NULL), SPRY_OK);
}

static metro_found searched(const metro_flows *f, threads *team, arena *memory)
{
    metro_search_options o = metro_search_options_default();
    metro_found found;
    spry_error error = {0};

    o.team = team;
    if (metro_search(f, &plain, &o, memory, &found, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    assert_true(found.makespan >= found.floor);
    return found;
}

/* Two flows over one link: 22 cycles, where the order of their numbers gives 24. All of a 4 x 4
 * mesh to its corner: 64, where random orders give up to 68. */
static void test_hand(void **state)
{
    metro_flows f;
    arena memory;
    int corner[] = {0};
    int end[] = {3};

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, end, 1, 8);
    put(&f, false, 1, end, 1, 8);
    assert_int_equal(metro_floor(&f, &plain, &memory), 22);
    assert_int_equal(searched(&f, NULL, &memory).makespan, 22);
    metro_flows_fini(&f);
    metro_flows_init(&f, 4, 4);
    for (int i = 1; i < 16; i++) {
        put(&f, false, i, corner, 1, 4);
    }
    assert_int_equal(searched(&f, NULL, &memory).makespan, 64);
    metro_flows_fini(&f);
    arena_fini(&memory);
}

static void fill_random(metro_flows *f, int count, spry_random *random)
{
    int nodes = f->width * f->height;

    for (int i = 0; i < count; i++) {
        int many[5];
        int ends = 1 + (int)spry_random_below(random, 5);

        for (int k = 0; k < ends; k++) {
            many[k] = (int)spry_random_below(random, (uint64_t)nodes);
        }
        put(f, spry_random_below(random, 4) == 0, (int)spry_random_below(random, (uint64_t)nodes),
            many, ends, (int64_t)spry_random_below(random, 40));
    }
}

/* The best of all orders and of the first two routes of each flow. */
static int64_t exhaustive(const metro_flows *f)
{
    int64_t best = INT64_MAX;
    int orders = 1;

    for (int i = 2; i <= f->count; i++) {
        orders *= i;
    }
    for (int n = 0; n < orders << f->count; n++) {
        metro_route routes[4];
        int64_t order[4];
        int left[4] = {0, 1, 2, 3};
        int code = n >> f->count;
        metro_schedule s;
        spry_error error = {0};

        for (int i = 0; i < f->count; i++) {
            metro_route all[METRO_ROUTES_MOST];
            int at = code % (f->count - i);

            (void)metro_routes(f, &f->items[i], all);
            routes[i] = all[n >> i & 1];
            order[left[at]] = i;
            memmove(&left[at], &left[at + 1], (size_t)(f->count - i - at - 1) * sizeof *left);
            code /= f->count - i;
        }
        assert_int_equal(metro_schedule_make(f, &plain, routes, order, &s, &error), SPRY_OK);
        best = s.makespan < best ? s.makespan : best;
        metro_schedule_fini(&s);
    }
    return best;
}

static void test_against_all(void **state)
{
    spry_random random = spry_random_stream(4, 0);

    (void)state;
    for (int round = 0; round < 12; round++) {
        metro_flows f;
        arena memory;

        arena_init(&memory, NULL, SIZE_MAX);
        metro_flows_init(&f, 3, 3);
        fill_random(&f, 4, &random);
        assert_true(searched(&f, NULL, &memory).makespan <= exhaustive(&f));
        metro_flows_fini(&f);
        arena_fini(&memory);
    }
}

/* Threads change nothing; nor is a result worse than the best rule of thumb, or another than the
 * replay's. */
static void test_threads(void **state)
{
    spry_random random = spry_random_stream(5, 0);
    metro_flows f;
    arena memory;
    metro_found one;
    metro_found three;
    metro_schedule s;
    metro_program p;
    metro_replayed replayed;
    threads *team = NULL;
    spry_error error = {0};

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    metro_flows_init(&f, 5, 4);
    fill_random(&f, 30, &random);
    assert_int_equal(threads_create(NULL, 3, &team, &error), SPRY_OK);
    one = searched(&f, NULL, &memory);
    three = searched(&f, team, &memory);
    assert_int_equal(one.makespan, three.makespan);
    assert_memory_equal(one.routes, three.routes, 30 * sizeof *one.routes);
    assert_true((one.order == NULL) == (three.order == NULL));
    if (one.order != NULL) {
        assert_memory_equal(one.order, three.order, 30 * sizeof *one.order);
    }
    assert_true(one.makespan <= one.first);
    assert_int_equal(metro_schedule_make(&f, &plain, one.routes, one.order, &s, &error), SPRY_OK);
    assert_int_equal(s.makespan, one.makespan);
    assert_int_equal(metro_program_make(&s, &p, &error), SPRY_OK);
    assert_int_equal(metro_replay(&s, &p, &replayed, &error), SPRY_OK);
    assert_int_equal(replayed.finish, s.makespan);
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    threads_destroy(team);
    metro_flows_fini(&f);
    arena_fini(&memory);
}

/* 56 x 56, 64 to 64 channels, 3x3, in 8 x 8 parts: 8 parts of weights of 4608 bytes to 8 tiles
 * each, 8 of inputs of 9 rows, and 64 of 3136 results. */
static void test_layer(void **state)
{
    const simulate_layer l = {.name = "conv",
                              .images = 1,
                              .in_height = 56,
                              .in_width = 56,
                              .channels = 64,
                              .out_height = 56,
                              .out_width = 56,
                              .filters = 64,
                              .kernel_height = 3,
                              .kernel_width = 3,
                              .stride_height = 1,
                              .stride_width = 1,
                              .dilation_height = 1,
                              .dilation_width = 1,
                              .groups = 1};
    metro_parts parts = metro_parts_of(&l, 8, 8);
    metro_tiles tiles;
    metro_flows f;
    spry_error error = {0};

    (void)state;
    assert_true(parts.filters == 8 && parts.pixels == 8 && parts.channels == 1);
    metro_tiles_default(&tiles, 8, 8);
    assert_int_equal(tiles.port_count, 4);
    assert_int_equal(tiles.ports[3], 63);
    metro_flows_init(&f, 8, 8);
    assert_int_equal(metro_layer_flows(&f, &l, &tiles, parts, &error), SPRY_OK);
    assert_int_equal(f.count, 8 + 8 + 64);
    assert_int_equal(f.items[0].bytes, 64 / 8 * 64 * 9);
    assert_int_equal(f.items[8].bytes, 9 * 56 * 64);
    assert_int_equal(f.items[16].bytes, 7 * 56 * 8);
    assert_int_equal(metro_layer_compute(&l, &tiles, parts), 7 * 56 * 8 * 64 * 9 / 256);
    metro_flows_fini(&f);
}

/* A row: packets to each take 38 or 48 cycles as the nearest or the farthest goes last, with a
 * header each; a packet that forks as long as the one to the farthest. */
static void test_packets(void **state)
{
    int row[] = {3, 2, 1};
    mesh_options network = {.width = 4, .height = 4, .channels = 4, .depth = 8, .routing_delay = 1};
    metro_baseline unicast;
    metro_baseline tree;
    metro_flows f;
    spry_error error = {0};

    (void)state;
    metro_flows_init(&f, 4, 4);
    put(&f, false, 0, row, 3, 8);
    assert_int_equal(metro_packets(&f, &plain, &network, METRO_EACH, &unicast, &error), SPRY_OK);
    assert_int_equal(metro_packets(&f, &plain, &network, METRO_TREES, &tree, &error), SPRY_OK);
    assert_int_equal(unicast.makespan, 38);
    assert_int_equal(tree.makespan, 30);
    f.items[0].release = 1;
    assert_int_equal(metro_packets(&f, &plain, &network, METRO_TREES, &tree, &error),
                     SPRY_UNSUPPORTED);
    metro_flows_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand),    cmocka_unit_test(test_against_all),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_layer),
        cmocka_unit_test(test_packets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
