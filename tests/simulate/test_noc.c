/* The mesh of routers: hand-counted latencies, conservation, order, deadlock; and the figures of
 * BookSim 2 (commit 28f4329) for three configurations, which another program wrote with another
 * random generator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/noc/mesh.h"
#include "simulate/noc/traffic.h"
#include "spry/random.h"
#include "support/cases.h"

typedef struct inbox {
    uint64_t count;
    uint64_t flits;
    mesh_arrival last;
} inbox;

static void receive(void *context, const mesh_arrival *a)
{
    inbox *box = context;

    box->count++;
    box->flits += (uint64_t)a->flits;
    box->last = *a;
}

static int distance(int width, int a, int b)
{
    return abs(a % width - b % width) + abs(a / width - b / width);
}

/* A lone packet: 2 + (4 + rd) H + L - 1 cycles, for every pair of nodes. */
static void test_lone_packets(void **state)
{
    (void)state;
    for (int delay = 0; delay <= 1; delay++) {
        for (int pair = 0; pair < 15 * 15; pair++) {
            mesh_options o = {
                .width = 5, .height = 3, .channels = 2, .depth = 8, .routing_delay = delay};
            int from = pair / 15;
            int to = pair % 15;
            int flits = 1 + pair % 5;
            int hops = distance(5, from, to) + 1;
            inbox box = {0};
            mesh *m = NULL;

            assert_int_equal(mesh_create(NULL, &o, receive, &box, &m, NULL), SPRY_OK);
            for (int i = 0; i < 3; i++) {
                mesh_step(m);
            }
            assert_int_equal(mesh_send(m, from, to, flits, 77, NULL), SPRY_OK);
            while (mesh_underway(m) > 0) {
                mesh_step(m);
            }
            assert_int_equal(box.last.arrived - box.last.created,
                             2 + (4 + delay) * hops + flits - 1);
            assert_int_equal(box.last.hops, hops);
            assert_int_equal(box.last.tag, 77);
            assert_int_equal(mesh_count(m)->flit_hops, (uint64_t)(hops * flits));
            mesh_destroy(m);
        }
    }
}

/* Within a packet a buffer's place is free again 6 cycles after it was filled, so a channel of
 * fewer flits carries that much less. */
static void test_credit_loop(void **state)
{
    static const int depths[] = {1, 2, 3, 5, 6, 8};

    (void)state;
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        mesh_options o = {
            .width = 3, .height = 1, .channels = 1, .depth = depths[i], .routing_delay = 1};
        mesh *m = NULL;
        double rate = depths[i] < 6 ? depths[i] / 6.0 : 1.0;

        assert_int_equal(mesh_create(NULL, &o, NULL, NULL, &m, NULL), SPRY_OK);
        assert_int_equal(mesh_send(m, 0, 2, 60000, 0, NULL), SPRY_OK);
        for (int cycle = 0; cycle < 6017; cycle++) {
            mesh_step(m);
        }
        assert_in_range(mesh_count(m)->ejected_flits, (uint64_t)(6000 * rate) - 8,
                        (uint64_t)(6000 * rate) + 8);
        mesh_destroy(m);
    }
}

/* Every packet arrives once, whole; at full load nothing stands still. */
static void test_conservation(void **state)
{
    (void)state;
    for (int routing = 0; routing < MESH_ROUTINGS; routing++) {
        mesh_options o = {.width = 4,
                          .height = 3,
                          .channels = 3,
                          .depth = 2,
                          .routing_delay = 1,
                          .routing = (mesh_routing)routing,
                          .seed = 5};
        spry_random random = spry_random_stream(3, (uint64_t)routing);
        inbox box = {0};
        uint64_t sent = 0;
        uint64_t flits = 0;
        mesh *m = NULL;

        assert_int_equal(mesh_create(NULL, &o, receive, &box, &m, NULL), SPRY_OK);
        for (int cycle = 0; cycle < 20000; cycle++) {
            int length = 1 + (int)spry_random_below(&random, 9);

            if (cycle < 10000 && cycle % 2 == 0) {
                assert_int_equal(mesh_send(m, (int)spry_random_below(&random, 12),
                                           (int)spry_random_below(&random, 12), length, 0, NULL),
                                 SPRY_OK);
                sent++;
                flits += (uint64_t)length;
            }
            mesh_step(m);
            assert_false(mesh_stuck(m));
            assert_int_equal(sent, box.count + mesh_underway(m));
        }
        assert_int_equal(mesh_underway(m), 0);
        assert_int_equal(box.flits, flits);
        assert_int_equal(mesh_count(m)->injected_flits, flits);
        assert_int_equal(mesh_count(m)->ejected_flits, flits);
        mesh_destroy(m);
    }
}

typedef struct reference_point {
    double rate;
    double latency;
} reference_point;

typedef struct reference_curve {
    char set; /* A: 4 channels, routed in a cycle, 1 flit; B: 2 channels, looked ahead, 4 flits;
                 C: as A with 4 flits */
    int side;
    traffic_pattern pattern;
    mesh_routing routing;
    double saturation; /* flits that arrive per node and cycle of 0.9 offered; 0: not measured */
    reference_point points[10];
} reference_curve;

static const reference_curve curves[] = {
    {'A',
     4,
     TRAFFIC_UNIFORM,
     MESH_DOR,
     0.758,
     {{.02, 19.52},
      {.1, 19.68},
      {.2, 19.96},
      {.3, 20.40},
      {.4, 20.96},
      {.5, 22.01},
      {.6, 24.34},
      {.65, 26.87},
      {.7, 31.91}}},
    {'A',
     4,
     TRAFFIC_TRANSPOSE,
     MESH_DOR,
     0.588,
     {{.02, 19.56},
      {.1, 19.69},
      {.15, 19.98},
      {.2, 20.32},
      {.25, 20.89},
      {.28, 21.57},
      {.3, 22.44},
      {.32, 25.24}}},
    {'A',
     8,
     TRAFFIC_UNIFORM,
     MESH_DOR,
     0.398,
     {{.02, 33.25},
      {.1, 33.87},
      {.2, 35.16},
      {.25, 36.24},
      {.3, 38.06},
      {.35, 41.78},
      {.38, 47.01},
      {.4, 54.90}}},
    {'A',
     8,
     TRAFFIC_TRANSPOSE,
     MESH_DOR,
     0.328,
     {{.02, 33.41},
      {.05, 33.77},
      {.08, 34.40},
      {.1, 35.07},
      {.12, 36.16},
      {.13, 37.22},
      {.14, 42.6}}},
    {'B',
     4,
     TRAFFIC_UNIFORM,
     MESH_DOR,
     0.709,
     {{.02, 19.05}, {.1, 19.69}, {.2, 20.67}, {.3, 21.94}, {.4, 23.72}, {.45, 24.88}, {.5, 26.43}}},
    {'B',
     4,
     TRAFFIC_TRANSPOSE,
     MESH_DOR,
     0.587,
     {{.02, 19.07}, {.1, 19.62}, {.15, 20.01}, {.2, 20.71}, {.24, 21.67}}},
    {'B',
     8,
     TRAFFIC_UNIFORM,
     MESH_DOR,
     0.380,
     {{.02, 30.18},
      {.1, 31.43},
      {.15, 32.37},
      {.2, 33.79},
      {.25, 35.90},
      {.28, 37.79},
      {.3, 39.47}}},
    {'B',
     8,
     TRAFFIC_TRANSPOSE,
     MESH_DOR,
     0.329,
     {{.02, 30.25}, {.05, 30.69}, {.08, 31.51}, {.1, 32.42}, {.11, 33.10}}},
    {'C', 8, TRAFFIC_UNIFORM, MESH_DOR, 0.403, {{.05, 36.71}, {.2, 39.88}}},
    {'C', 8, TRAFFIC_UNIFORM, MESH_XY_YX, 0.390, {{.05, 36.87}, {.2, 40.21}}},
    {'C', 8, TRAFFIC_UNIFORM, MESH_MIN_ADAPT, 0.396, {{.05, 36.72}, {.2, 39.94}}},
    {'C', 8, TRAFFIC_UNIFORM, MESH_ROMM, 0.243, {{.05, 36.83}, {.2, 41.17}}},
    {'C', 8, TRAFFIC_UNIFORM, MESH_VALIANT, 0.188, {{.05, 63.90}}},
    {'C', 8, TRAFFIC_TRANSPOSE, MESH_DOR, 0.327, {{.05, 36.88}, {.1, 38.68}}},
    {'C', 8, TRAFFIC_TRANSPOSE, MESH_XY_YX, 0.425, {{.05, 36.59}, {.1, 37.26}}},
    {'C', 8, TRAFFIC_TRANSPOSE, MESH_MIN_ADAPT, 0.328, {{.05, 36.89}, {.1, 38.74}}},
    {'C', 8, TRAFFIC_TRANSPOSE, MESH_ROMM, 0.386, {{.05, 36.70}, {.1, 37.79}}},
    {'C', 8, TRAFFIC_TRANSPOSE, MESH_VALIANT, 0, {{.05, 63.79}, {.1, 67.43}}},
};

enum { CURVES = sizeof curves / sizeof *curves, PACKETS = 60000, CYCLES = 20000 };

static traffic_result measure(const reference_curve *c, double rate, uint64_t cycles,
                              uint64_t drain)
{
    mesh_options network = {.width = c->side,
                            .height = c->side,
                            .channels = c->set == 'B' ? 2 : 4,
                            .depth = 8,
                            .routing_delay = c->set == 'B' ? 0 : 1,
                            .routing = c->routing};
    traffic_options traffic = {.pattern = c->pattern,
                               .rate = rate,
                               .packet_flits = c->set == 'A' ? 1 : 4,
                               .warm_up = 5000,
                               .measured = cycles,
                               .drain = drain,
                               .seed = 1};
    traffic_result result;

    assert_int_equal(traffic_run(NULL, &network, &traffic, &result, NULL), SPRY_OK);
    return result;
}

/* Where the network is full. Packets of the diagonal, which send to themselves, make the accepted
 * traffic of transposes look better than the busiest link allows: it carries side - 1 flows. */
static double limit_of(const reference_curve *c)
{
    double link = 1.0 / (c->side - 1);

    return c->pattern == TRAFFIC_TRANSPOSE && c->routing != MESH_XY_YX ? link : c->saturation;
}

static void check_point(const reference_curve *c, const reference_point *p)
{
    double packets = p->rate * c->side * c->side / (c->set == 'A' ? 1 : 4); /* a cycle */
    uint64_t cycles = packets * CYCLES > PACKETS ? CYCLES : (uint64_t)(PACKETS / packets);
    traffic_result r = measure(c, p->rate, cycles, 100000);
    double off = r.latency / p->latency - 1.0;
    double most = p->rate <= 0.95 * limit_of(c) ? 0.015 : 0.10;

    print_message("%c %dx%d %s %s %.2f: %.2f, BookSim %.2f (%+.2f %%)\n", c->set, c->side, c->side,
                  mesh_routing_name(c->routing), traffic_pattern_name(c->pattern), p->rate,
                  r.latency, p->latency, 100.0 * off);
    assert_true(off < most && off > -most);
    assert_true(r.drained);
}

/* One point of each curve on every change, all of them at night. */
static void test_latencies(void **state)
{
    bool all = cases_of("latencies") > CASES_USUAL;

    (void)state;
    for (int i = 0; i < CURVES; i++) {
        int skipped = 0;

        for (const reference_point *p = curves[i].points; p->rate > 0.0; p++) {
            if (all || skipped++ == 1 || curves[i].points[1].rate == 0.0) {
                check_point(&curves[i], p);
            }
        }
    }
}

static void test_saturation(void **state)
{
    bool all = cases_of("saturation") > CASES_USUAL;

    (void)state;
    for (int i = 0; i < CURVES; i++) {
        const reference_curve *c = &curves[i];
        traffic_result r;
        double off;

        if (c->saturation == 0.0 || (!all && i != 0 && i != 5 && i != 11)) {
            continue;
        }
        r = measure(c, 0.9, CYCLES, 0);
        off = r.accepted / c->saturation - 1.0;
        print_message("%c %dx%d %s %s: %.3f, BookSim %.3f (%+.2f %%)\n", c->set, c->side, c->side,
                      mesh_routing_name(c->routing), traffic_pattern_name(c->pattern), r.accepted,
                      c->saturation, 100.0 * off);
        assert_true(off < 0.015 && off > -0.015);
    }
}

/* Latency that a formula gave would not care about the buffers. */
static void test_small_buffers_saturate_earlier(void **state)
{
    mesh_options network = {.width = 4, .height = 4, .channels = 4, .depth = 8, .routing_delay = 1};
    traffic_options traffic = {
        .rate = 0.9, .packet_flits = 1, .warm_up = 1000, .measured = 4000, .seed = 2};
    traffic_result deep;
    traffic_result shallow;

    (void)state;
    assert_int_equal(traffic_run(NULL, &network, &traffic, &deep, NULL), SPRY_OK);
    network.depth = 2;
    assert_int_equal(traffic_run(NULL, &network, &traffic, &shallow, NULL), SPRY_OK);
    assert_true(shallow.accepted < 0.9 * deep.accepted);
    assert_false(deep.drained);
}

typedef struct landed {
    int copies[64];
    uint64_t last;
} landed;

static void land(void *context, const mesh_arrival *arrival)
{
    landed *l = context;

    l->copies[arrival->destination]++;
    l->last = arrival->arrived;
}

/* To one node a forking packet takes what any packet does; along a row, what the farthest takes. */
static void test_lone_forks(void **state)
{
    const int row[] = {1, 2, 3};
    mesh_options o = {.width = 4, .height = 4, .channels = 4, .depth = 16, .routing_delay = 1};
    spry_error error = {0};

    (void)state;
    for (int count = 1; count <= 3; count++) {
        landed l = {{0}, 0};
        mesh *m = NULL;
        int group;

        assert_int_equal(mesh_create(NULL, &o, land, &l, &m, &error), SPRY_OK);
        assert_int_equal(mesh_add_group(m, 0, row, count, &group, &error), SPRY_OK);
        assert_int_equal(mesh_send_group(m, group, 9, 0, &error), SPRY_OK);
        while (mesh_underway(m) > 0) {
            mesh_step(m);
        }
        assert_int_equal(l.last, 2 + 5 * (count + 1) + 8);
        for (int n = 0; n < 16; n++) {
            assert_int_equal(l.copies[n], n >= 1 && n <= count);
        }
        mesh_destroy(m);
    }
}

/* Random trees and packets at once, far above what the mesh can carry: all arrive once, everywhere
 * that they should, and nothing stands still. */
static void test_many_forks(void **state)
{
    enum { GROUPS = 40, SENT = 4000 };
    mesh_options o = {.width = 5, .height = 6, .channels = 2, .depth = 9, .routing_delay = 1};
    spry_random random = spry_random_stream(3, 1);
    int wanted[64] = {0};
    landed l = {{0}, 0};
    spry_error error = {0};
    mesh *m = NULL;
    int groups[GROUPS];
    int members[GROUPS][8];

    (void)state;
    assert_int_equal(mesh_create(NULL, &o, land, &l, &m, &error), SPRY_OK);
    for (int g = 0; g < GROUPS; g++) {
        for (int i = 0; i < 8; i++) {
            members[g][i] = (int)spry_random_below(&random, 30);
        }
        assert_int_equal(mesh_add_group(m, (int)spry_random_below(&random, 30), members[g], 8,
                                        &groups[g], &error),
                         SPRY_OK);
    }
    for (int p = 0; p < SENT; p++) {
        int g = (int)spry_random_below(&random, GROUPS);
        int flits = 1 + (int)spry_random_below(&random, 9);
        int to = (int)spry_random_below(&random, 30);

        assert_int_equal(mesh_send_group(m, groups[g], flits, 0, &error), SPRY_OK);
        for (int i = 0; i < 8; i++) {
            bool is_new = true;

            for (int k = 0; k < i; k++) {
                is_new = is_new && members[g][k] != members[g][i];
            }
            wanted[members[g][i]] += is_new;
        }
        assert_int_equal(mesh_send(m, (int)spry_random_below(&random, 30), to, flits, 0, &error),
                         SPRY_OK);
        wanted[to]++;
    }
    while (mesh_underway(m) > 0) {
        mesh_step(m);
        assert_false(mesh_stuck(m));
    }
    assert_memory_equal(l.copies, wanted, sizeof wanted);
    assert_int_equal(mesh_send_group(m, 0, 10, 0, &error), SPRY_USAGE);
    assert_int_equal(mesh_send_group(m, GROUPS, 1, 0, &error), SPRY_USAGE);
    mesh_destroy(m);
}

static void test_refusals(void **state)
{
    mesh_options good = {.width = 4, .height = 2, .channels = 1, .depth = 1};
    mesh_options bad = good;
    traffic_options traffic = {
        .pattern = TRAFFIC_TRANSPOSE, .rate = 0.1, .packet_flits = 1, .measured = 1};
    traffic_result result;
    spry_error error = {0};
    mesh *m = NULL;

    (void)state;
    bad.routing = MESH_ROMM; /* with one channel */
    assert_int_equal(mesh_create(NULL, &bad, NULL, NULL, &m, &error), SPRY_USAGE);
    bad = good;
    bad.width = 0;
    assert_int_equal(mesh_create(NULL, &bad, NULL, NULL, &m, &error), SPRY_USAGE);
    assert_null(m);
    assert_int_equal(traffic_run(NULL, &good, &traffic, &result, &error), SPRY_USAGE);
    traffic.pattern = TRAFFIC_UNIFORM;
    traffic.rate = 1.5;
    assert_int_equal(traffic_run(NULL, &good, &traffic, &result, &error), SPRY_USAGE);
    assert_int_equal(mesh_create(NULL, &good, NULL, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(mesh_send(m, 0, 8, 1, 0, &error), SPRY_USAGE);
    assert_int_equal(mesh_send(m, -1, 0, 1, 0, &error), SPRY_USAGE);
    assert_int_equal(mesh_send(m, 0, 1, 0, 0, &error), SPRY_USAGE);
    mesh_destroy(m);
    assert_int_equal(mesh_routing_find("romm"), MESH_ROMM);
    assert_int_equal(mesh_routing_find("hot potato"), MESH_ROUTINGS);
    assert_int_equal(traffic_pattern_find("transpose"), TRAFFIC_TRANSPOSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lone_packets), cmocka_unit_test(test_credit_loop),
        cmocka_unit_test(test_conservation), cmocka_unit_test(test_latencies),
        cmocka_unit_test(test_saturation),   cmocka_unit_test(test_small_buffers_saturate_earlier),
        cmocka_unit_test(test_lone_forks),   cmocka_unit_test(test_many_forks),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
