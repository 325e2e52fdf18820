/* Blocks of layers on an example worked out by hand, and on random profiles; interference from
 * series that are made; versions that no other beats, and which of them runs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "spry/random.h"
#include "tune/tenants/layer_blocks.h"
#include "tune/tenants/versions.h"

enum { LAYERS = 40, CHOICES = 4, CASES = 300 };

/* ---- blocks ---- */

static const int32_t example_cores[] = {1, 2, 4};
static const double example_ms[] = {3.0, 2.5, 2.0, 2.0, 1.0, 0.6, 9.0, 5.0, 3.0, 2.2, 1.2, 0.8};
static const double example_work[] = {2.0, 2.0, 6.0, 2.0};
static const layer_profile example = {.layers = 4,
                                      .choices = 3,
                                      .cores = example_cores,
                                      .ms = example_ms,
                                      .work = example_work,
                                      .target_ms = 12.0,
                                      .safety = 1.0};

static void expect_blocks(double threshold, const layer_block *expected, int32_t count,
                          double core_ms)
{
    layer_block blocks[4];

    assert_int_equal(layer_blocks_form(&example, threshold, 0.0, blocks), count);
    for (int32_t b = 0; b < count; b++) {
        assert_int_equal(blocks[b].first, expected[b].first);
        assert_int_equal(blocks[b].count, expected[b].count);
        assert_int_equal(blocks[b].cores, expected[b].cores);
    }
    assert_true(fabs(layer_blocks_core_ms(&example, blocks, count) - core_ms) < 1e-12);
}

static void test_example(void **state)
{
    const layer_block at_4[] = {{0, 1, 4}, {1, 1, 1}, {2, 1, 2}, {3, 1, 2}};
    const layer_block at_2[] = {{0, 2, 2}, {2, 1, 2}, {3, 1, 2}};
    const layer_block at_1[] = {{0, 4, 2}};
    spry_error error = {0};
    (void)state;

    assert_int_equal(layer_profile_check(&example, &error), SPRY_OK);
    assert_int_equal(layer_blocks_average(&example), 2);
    expect_blocks(4, at_4, 4, 22.4);
    expect_blocks(2, at_2, 3, 19.4);
    expect_blocks(1, at_1, 1, 19.4);
    assert_true(layer_blocks_threshold(&example, 0.0) == 4.0);
    assert_true(layer_blocks_threshold(&example, 2.0) == 3.0);
    assert_true(layer_blocks_threshold(&example, 9.0) == 2.0);
}

static void test_least_time(void **state)
{
    layer_block blocks[4];
    (void)state;

    /* {1,2} take 3.5 ms on 2 cores, {3} 5; what is left over joins it. */
    assert_int_equal(layer_blocks_form(&example, 4, 3.0, blocks), 2);
    assert_int_equal(blocks[0].count, 2);
    assert_int_equal(blocks[1].first, 2);
    assert_int_equal(blocks[1].count, 2);
    assert_int_equal(blocks[1].cores, 2);
    assert_int_equal(layer_blocks_form(&example, 4, 100.0, blocks), 1);
    assert_int_equal(blocks[0].count, 4);
}

static void test_bad_profiles(void **state)
{
    const int32_t falling[] = {2, 1, 4};
    const double no_work[] = {2.0, 0.0, 6.0, 2.0};
    const double bad_ms[] = {3.0, 2.5, -2.0, 2.0, 1.0, 0.6, 9.0, 5.0, 3.0, 2.2, 1.2, NAN};
    layer_profile p[6] = {example, example, example, example, example, example};
    spry_error error = {0};
    (void)state;

    p[0].cores = falling;
    p[1].work = no_work;
    p[2].ms = bad_ms;
    p[3].layers = 0;
    p[4].safety = 1.5;
    p[5].target_ms = 0.0;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(layer_profile_check(&p[i], &error), SPRY_USAGE);
    }
}

/* Blocks follow one another without a gap; where more cores are never slower and every layer keeps
 * its part, a block never needs more than its hungriest layer. */
static void test_random_profiles(void **state)
{
    static const int32_t cores[CHOICES] = {1, 2, 4, 8};
    spry_random random = spry_random_stream(11, 0);
    (void)state;

    for (int i = 0; i < CASES; i++) {
        double ms[LAYERS * CHOICES];
        double work[LAYERS];
        layer_block blocks[LAYERS];
        int32_t layers = 1 + (int32_t)(spry_random_f64(&random) * (LAYERS - 1));
        layer_profile p = {layers, CHOICES, cores, ms, work, 0.0, 0.9};
        double slowest = 0.0;
        int32_t next = 0;
        int32_t count;

        for (int32_t l = 0; l < layers; l++) {
            work[l] = 0.1 + spry_random_f64(&random);
            ms[l * CHOICES] = 0.1 + 3.0 * spry_random_f64(&random);
            for (int c = 1; c < CHOICES; c++) {
                ms[l * CHOICES + c] =
                    ms[l * CHOICES + c - 1] * (0.5 + 0.5 * spry_random_f64(&random));
            }
            slowest = fmax(slowest, ms[l * CHOICES + CHOICES - 1] / work[l]);
            p.target_ms += work[l];
        }
        p.target_ms *= slowest / p.safety * (1.0 + spry_random_f64(&random));
        count = layer_blocks_form(&p, 1.0 + 7.0 * spry_random_f64(&random),
                                  2.0 * spry_random_f64(&random), blocks);
        assert_true(count >= 1 && count <= layers);
        for (int32_t b = 0; b < count; b++) {
            int32_t most = 0;

            assert_int_equal(blocks[b].first, next);
            for (int32_t l = next; l < next + blocks[b].count; l++) {
                int32_t need = layer_blocks_need(&p, l, 1);

                most = need > most ? need : most;
            }
            next += blocks[b].count;
            assert_true(blocks[b].cores <= most);
        }
        assert_int_equal(next, layers);
        assert_int_equal(layer_blocks_form(&p, 8.0, 0.0, blocks), layers);
    }
}

/* ---- interference ---- */

static void test_levels(void **state)
{
    static const double slowdowns[] = {0.9, 1.0, 1.049, 1.05, 1.149, 1.15, 1.29, 1.3, 1.59, 1.6, 9};
    static const int levels[] = {0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4};
    (void)state;

    for (int i = 0; i < 11; i++) {
        assert_int_equal(interference_level(slowdowns[i]), levels[i]);
    }
}

static void test_half_life(void **state)
{
    interference p = {0};
    (void)state;

    assert_int_equal(interference_read(&p), 0);
    interference_observe(&p, 1000, 1.0, 1.0);
    assert_true(fabs(p.slowdown - 1.0) < 1e-12);
    interference_observe(&p, 1000 + INTERFERENCE_HALF_NS, 2.0, 1.0);
    assert_true(fabs(p.slowdown - 1.5) < 1e-12);
    interference_observe(&p, 1000 + 2 * (int64_t)INTERFERENCE_HALF_NS, 4.0, 2.0);
    assert_true(fabs(p.slowdown - 1.75) < 1e-12);
    /* At the same time, and what is no time at all: nothing changes. */
    interference_observe(&p, p.seen_ns, 9.0, 1.0);
    interference_observe(&p, p.seen_ns + INTERFERENCE_HALF_NS, 0.0, 1.0);
    interference_observe(&p, p.seen_ns + INTERFERENCE_HALF_NS, 1.0, 0.0);
    interference_observe(&p, p.seen_ns + INTERFERENCE_HALF_NS, NAN, 1.0);
    assert_true(fabs(p.slowdown - 1.75) < 1e-12);
    assert_int_equal(interference_read(&p), 4);
    assert_int_equal(p.readings, 4);
}

/* A pause in a piece of a microsecond counts by what it is among all of them. */
static void test_small_pieces(void **state)
{
    interference p = {0};
    (void)state;

    for (int i = 0; i < 699; i++) {
        interference_observe(&p, i, i == 5 ? 0.351 : 0.001, 0.001);
        assert_int_equal(p.readings, 0);
        assert_int_equal(interference_read(&p), 0);
    }
    interference_observe(&p, 699, 0.0011, 0.0011);
    assert_int_equal(p.readings, 1);
    assert_true(fabs(p.slowdown - 1.5) < 1e-3);
}

/* A step of slowdown 1.4 is level 3 after some half-lives, however long the pieces are. */
static void test_step(void **state)
{
    static const int64_t pieces_ns[] = {200000, 3000000, 60000000};
    (void)state;

    for (int i = 0; i < 3; i++) {
        interference p = {0};
        int64_t now = 0;

        for (; now < 500000000; now += pieces_ns[i]) {
            interference_observe(&p, now, 1.0, 1.0);
        }
        assert_int_equal(interference_read(&p), 0);
        for (int64_t end = now + 300000000; now < end; now += pieces_ns[i]) {
            interference_observe(&p, now, 1.4, 1.0);
        }
        assert_int_equal(interference_read(&p), 3);
    }
}

/* ---- versions ---- */

static void test_pareto(void **state)
{
    const version_facts three[] = {{1e6, 1.0, 64}, {4e6, 0.9, 32}, {2e6, 1.1, 64}};
    const version_facts twins[] = {{1.0, 1.0, 1}, {1.0, 1.0, 1}};
    version_facts line[9];
    int32_t kept[VERSIONS_KEPT];
    (void)state;

    assert_int_equal(versions_keep(three, 3, 10.0, 5, kept), 2);
    assert_int_equal(kept[0], 0);
    assert_int_equal(kept[1], 1);
    assert_int_equal(versions_keep(three, 3, 0.95, 5, kept), 1);
    assert_int_equal(kept[0], 1);
    assert_int_equal(versions_keep(three, 3, 0.5, 5, kept), 0);
    assert_int_equal(versions_keep(twins, 2, 2.0, 5, kept), 1);
    for (int i = 0; i < 9; i++) { /* larger and faster, given from the largest on */
        line[i] = (version_facts){9.0 - i, 1.0 + i, 1};
    }
    assert_int_equal(versions_keep(line, 9, 100.0, 5, kept), 5);
    assert_int_equal(kept[0], 8);
    assert_int_equal(kept[2], 4);
    assert_int_equal(kept[4], 0);
    assert_int_equal(versions_keep(line, 9, 100.0, 1, kept), 1);
    assert_int_equal(kept[0], 0);
}

static void test_choice(void **state)
{
    double ms[2][INTERFERENCE_LEVELS] = {{1.0, 1.1, 1.3, 1.6, 3.0}, {1.2, 1.2, 1.25, 1.3, 1.4}};
    version_choice c;
    int trials = 0;
    (void)state;

    version_choice_start(&c, 2, ms);
    assert_int_equal(c.alone, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(version_choice_next(&c), 0);
        version_choice_read(&c, 0);
    }
    /* Level 2: the other one is 4 % faster, which is not worth it. */
    version_choice_read(&c, 2);
    version_choice_read(&c, 2);
    assert_int_equal(c.current, 0);
    /* Level 3 once is no reason; twice is. */
    version_choice_read(&c, 3);
    assert_int_equal(c.current, 0);
    version_choice_read(&c, 2);
    version_choice_read(&c, 3);
    assert_int_equal(c.current, 0);
    version_choice_read(&c, 3);
    assert_int_equal(c.current, 1);
    /* The first one is tried, ever more seldom, and nothing changes. */
    for (int i = 0; i < 1000; i++) {
        if (version_choice_next(&c) == 0) {
            trials++;
            version_choice_read(&c, 3);
        }
    }
    assert_true(trials >= 5 && trials <= 8);
    /* Peace: two trials in a row, then back. */
    while (version_choice_next(&c) != 0) {
    }
    version_choice_read(&c, 0);
    assert_int_equal(c.current, 1);
    assert_int_equal(version_choice_next(&c), 0);
    version_choice_read(&c, 0);
    assert_int_equal(c.current, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),      cmocka_unit_test(test_least_time),
        cmocka_unit_test(test_bad_profiles), cmocka_unit_test(test_random_profiles),
        cmocka_unit_test(test_levels),       cmocka_unit_test(test_half_life),
        cmocka_unit_test(test_small_pieces), cmocka_unit_test(test_step),
        cmocka_unit_test(test_pareto),       cmocka_unit_test(test_choice)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
