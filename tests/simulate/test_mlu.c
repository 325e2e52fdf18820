/* The accelerator that runs several layers as one: costs by hand, what must grow with what, and
 * where fusion is everything or nothing. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/mlu/mlu.h"

enum { LAYERS = 6 };

static spry_layer conv(int32_t from, int64_t height, int64_t kernel)
{
    return (spry_layer){.name = "layer",
                        .type = "Conv",
                        .inputs = {from, -1, -1, -1},
                        .input_count = 1,
                        .in = {16, height, height},
                        .out = {16, height, height},
                        .kernel = {kernel, kernel},
                        .stride = {1, 1},
                        .pad = {kernel / 2, kernel / 2},
                        .dilation = {1, 1},
                        .groups = 1,
                        .macs = height * height * 16 * 16 * kernel * kernel,
                        .weight_bytes = 16 * 16 * kernel * kernel * 2,
                        .element_bytes = 2,
                        .readers = 1,
                        .can_stream = true};
}

/* No fixed costs and memory without end: what is left is computing. */
static mlu_machine machine(void)
{
    return (mlu_machine){.cores = 4,
                         .core_peak = 1e9,
                         .efficiency = 1,
                         .bandwidth = HUGE_VAL,
                         .on_chip = HUGE_VAL,
                         .element_bytes = 2,
                         .split = MLU_SPLIT_ROWS,
                         .grain = 4,
                         .teams = {1, 2, 4},
                         .team_count = 3,
                         .fixed_team = 2,
                         .fixed_length = 2};
}

static double best(const mlu_machine *m, const spry_layer *layers, bool alone, int32_t *blocks)
{
    static fusion_rows rows[LAYERS];
    const mlu_context c = {m, {layers, LAYERS, false}, rows};
    partition_problem p = {.network = c.network,
                           .team_count = m->team_count,
                           .longest = LAYERS,
                           .cost = mlu_block_seconds,
                           .context = &c};
    partition r;
    spry_error error = {0};
    arena memory;
    double seconds;

    memcpy(p.teams, m->teams, sizeof p.teams);
    arena_init(&memory, NULL, SIZE_MAX);
    assert_int_equal(alone ? partition_alone(&p, &memory, &r, &error)
                           : partition_by(&p, PARTITION_S7, &memory, &r, &error),
                     SPRY_OK);
    seconds = r.seconds;
    *blocks = r.count;
    arena_fini(&memory);
    return seconds;
}

static void by_hand(void **state)
{
    mlu_machine m = machine();
    spry_layer layers[LAYERS];
    fusion_rows rows[LAYERS];
    const mlu_context c = {&m, {layers, LAYERS, false}, rows};
    double op = 2.0 * 56 * 56 * 16 * 16 * 9;
    mlu_cost cost;

    (void)state;
    for (int32_t i = 0; i < LAYERS; i++) {
        layers[i] = conv(i - 1, 56, 3);
    }
    mlu_block_cost(&c, 0, 0, 1, &cost);
    assert_true(fabs(cost.total - op / 1e9) < 1e-12);
    assert_true(cost.moved == 2 * 2 * 16 * 56 * 56 + 16 * 16 * 9 * 2);
    /* Depths 2 and 4 on two cores compute 1 / 56 and 3 / 56 of everything again. */
    mlu_block_cost(&c, 0, 1, 2, &cost);
    assert_true(fabs(cost.operations / (2 * op) - (1 + 1.0 / 56)) < 1e-9);
    mlu_block_cost(&c, 0, 3, 2, &cost);
    assert_true(fabs(cost.operations / (4 * op) - (1 + 3.0 / 56)) < 1e-9);
    assert_true(fabs(cost.total - cost.operations / 2e9) < 1e-9);
    /* Filters are shared by grains of 4: four cores have one each. */
    m.split = MLU_SPLIT_CHANNELS;
    mlu_block_cost(&c, 0, 0, 4, &cost);
    assert_true(fabs(cost.total - op / 4e9) < 1e-12);
    m.grain = 12;
    mlu_block_cost(&c, 0, 0, 4, &cost);
    assert_true(fabs(cost.total - op * 0.75 / 1e9) < 1e-12);
    /* Nine tenths of the speed at the critical number of operations. */
    m = machine();
    m.critical = op;
    mlu_block_cost(&c, 0, 0, 1, &cost);
    assert_true(fabs(op / cost.total / 1e9 - 0.9) < 1e-9);
    /* What does not stay on the chip is written and read. */
    m = machine();
    m.on_chip = 1;
    mlu_block_cost(&c, 0, 2, 1, &cost);
    assert_true(cost.moved == (2 + 2 * 2) * 2.0 * 16 * 56 * 56 + 3 * 16 * 16 * 9 * 2);
    assert_false(mlu_block_fits(&c, 0, 2, 1));
    m.on_chip = HUGE_VAL;
    assert_true(mlu_block_fits(&c, 0, 2, 1));
    m.launch = 3;
    m.synchronize = 0.25;
    mlu_block_cost(&c, 0, 2, 4, &cost);
    assert_true(cost.launch == 3 && cost.synchronize == 0.25 * 3 * 2);
}

/* Launches for nothing and a chip without end: everything in one block is best on one core, where
 * nothing is computed twice; and of kernels of single pixels with any number. */
static void fused_whole(void **state)
{
    mlu_machine m = machine();
    spry_layer layers[LAYERS];
    int32_t blocks;

    (void)state;
    m.bandwidth = 1e8;
    for (int kernel = 1; kernel <= 3; kernel += 2) {
        for (int32_t i = 0; i < LAYERS; i++) {
            layers[i] = conv(i - 1, 28, kernel);
        }
        m.team_count = kernel == 3 ? 1 : 3;
        (void)best(&m, layers, false, &blocks);
        assert_int_equal(blocks, 1);
    }
}

/* Memory of any speed and launches for nothing: fusion brings nothing. */
static void fused_never(void **state)
{
    mlu_machine m = machine();
    spry_layer layers[LAYERS];
    int32_t blocks;

    (void)state;
    for (int32_t i = 0; i < LAYERS; i++) {
        layers[i] = conv(i - 1, 28, 3);
    }
    assert_true(fabs(best(&m, layers, false, &blocks) - best(&m, layers, true, &blocks)) < 1e-12);
}

static void monotone(void **state)
{
    mlu_machine m = machine();
    spry_layer layers[LAYERS];
    double before = HUGE_VAL;
    int32_t blocks;

    (void)state;
    for (int32_t i = 0; i < LAYERS; i++) {
        layers[i] = conv(i - 1, 28, i % 2 == 0 ? 3 : 1);
    }
    m.launch = 1e-4;
    m.synchronize = 1e-5;
    m.critical = 1e5;
    m.on_chip = 20000;
    for (double bandwidth = 1e6; bandwidth < 1e12; bandwidth *= 3) {
        double now;

        m.bandwidth = bandwidth;
        now = best(&m, layers, false, &blocks);
        assert_true(now <= before);
        before = now;
    }
    m.bandwidth = 1e8;
    before = 0;
    for (double launch = 0; launch < 1; launch = 2 * launch + 1e-5) {
        double now;

        m.launch = launch;
        now = best(&m, layers, false, &blocks);
        assert_true(now >= before);
        before = now;
    }
    assert_int_equal(blocks, 1); /* dear launches */
    before = HUGE_VAL;
    for (double bytes = 100; bytes < 1e7; bytes *= 2) {
        double now;

        m.on_chip = bytes;
        now = best(&m, layers, false, &blocks);
        assert_true(now <= before);
        before = now;
    }
}

static const char whole[] =
    "{'compute': {'units': 4}, 'memory': {'dram': {'bandwidth': '1 GB/s'}},"
    "'fusion': {'core_peak': '1 GFLOP/s', 'efficiency': 0.5, 'teams': [1, 2, 4], 'element': '2 B',"
    "'split': 'best', 'grain': 16, 'on_chip': '1 KiB', 'launch': '1 us', 'synchronize': '1 us',"
    "'critical': '1 MFLOP', 'fixed_team': 2, 'fixed_length': 2, 'assumed': ['launch']}}";

/* Reads the description with `from` replaced by `to`. */
static spry_status read(const char *from, const char *to, mlu_machine *m, target **t,
                        spry_error *error)
{
    char bytes[1024];
    const char *found = strstr(whole, from);
    spry_status status;
    int length;

    assert_non_null(found);
    length = snprintf(bytes, sizeof bytes, "%.*s%s%s", (int)(found - whole), whole, to,
                      found + strlen(from));
    for (int i = 0; i < length; i++) {
        bytes[i] = bytes[i] == '\'' ? '"' : bytes[i];
    }
    status = target_parse(NULL, bytes, (size_t)length, "machine", t, error);
    if (status == SPRY_OK) {
        status = mlu_machine_read(*t, m, error);
    }
    return status == SPRY_OK ? target_finish(*t, error) : status;
}

static void descriptions(void **state)
{
    static const char *const bad[][2] = {
        {"'units': 4", "'units': 0"},
        {"[1, 2, 4]", "[2, 4]"},
        {"[1, 2, 4]", "[1, 2, 8]"},
        {"[1, 2, 4]", "[1, 2, 2]"},
        {"[1, 2, 4]", "[]"},
        {"'1 KiB'", "'0 KiB'"},
        {"'1 us', 'sync", "'1 KB', 'sync"},
        {"'grain': 16", "'grain': 0"},
        {"'grain'", "'grains'"},
        {"'best'", "'worst'"},
        {"'fixed_team': 2", "'fixed_team': 3"},
        {"'efficiency': 0.5", "'efficiency': 1.5"},
        {"['launch']", "['lunch']"},
        {"['launch']", "[3]"},
        {"'1 GB/s'", "'0 GB/s'"},
    };
    mlu_machine m;
    target *t = NULL;
    spry_error error = {0};

    (void)state;
    assert_int_equal(read("", "", &m, &t, &error), SPRY_OK);
    assert_int_equal(m.cores, 4);
    assert_int_equal(m.team_count, 3);
    assert_true(m.core_peak == 1e9 && m.efficiency == 0.5 && m.critical == 1e6);
    assert_true(mlu_is_assumed(t, "fusion.launch"));
    assert_false(mlu_is_assumed(t, "fusion.grain"));
    assert_false(mlu_is_assumed(t, "compute.units"));
    target_destroy(t);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        t = NULL;
        if (read(bad[i][0], bad[i][1], &m, &t, &error) != SPRY_BAD_INPUT) {
            fail_msg("'%s' was taken", bad[i][1]);
        }
        assert_non_null(strstr(error.where, "machine"));
        target_destroy(t);
    }
}

static void fitted(void **state)
{
    mlu_machine m;
    scaling s;
    target *t = NULL;
    spry_error error = {0};

    (void)state;
    assert_int_equal(target_load(NULL, "mlu100", &t, &error), SPRY_OK);
    assert_int_equal(mlu_machine_read(t, &m, &error), SPRY_OK);
    assert_int_equal(target_finish(t, &error), SPRY_OK);
    assert_int_equal(mlu_fit(&m, &s, &error), SPRY_OK);
    assert_true(s.point_count >= 100 && s.beta > 0); /* more work, more cores */
    assert_true(scaling_team(&s, 4e9, 512) > scaling_team(&s, 1e6, 16));
    target_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),  cmocka_unit_test(fused_whole),  cmocka_unit_test(fused_never),
        cmocka_unit_test(monotone), cmocka_unit_test(descriptions), cmocka_unit_test(fitted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
