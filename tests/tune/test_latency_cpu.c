/* The model of a CPU, from a description that is fixed here: nothing is measured. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tune/latency_machine.h"

static const char description[] =
    "{\"compute\": {\"clock\": \"3 GHz\"}, \"cpu\": {\"threads\": 1, \"peak\": {\"f32\": \"96 "
    "GFLOP/s\", "
    "\"s8\": \"384 GOP/s\"}, \"l1\": {\"size\": \"32 KiB\", \"triad\": \"80 GB/s\"}, "
    "\"l2\": {\"size\": \"1 MiB\", \"triad\": \"60 GB/s\"}, "
    "\"l3\": {\"size\": \"32 MiB\", \"triad\": \"30 GB/s\"}, \"dram\": {\"triad\": \"10 GB/s\"}, "
    "\"per_operator\": \"1 us\", \"listed\": {\"sums\": 1.5, \"tiles\": 1.5, \"copied_byte\": "
    "\"40 ps\", \"mask_pixel\": \"2 ns\", \"winograd\": 1}, "
    "\"scale\": {\"pointwise\": 1.5, \"window\": 1, \"winograd\": 1, \"depthwise\": 2}}}";

static spry_status read_machine(const char *json, latency_machine *m, spry_error *error)
{
    target *t;
    spry_status status;

    assert_int_equal(target_parse(NULL, json, strlen(json), "cpu.json", &t, error), SPRY_OK);
    status = latency_machine_read(m, t, error);
    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    target_destroy(t);
    return status;
}

static latency_machine machine(void)
{
    latency_machine m;
    spry_error error;

    assert_int_equal(read_machine(description, &m, &error), SPRY_OK);
    assert_true(m.is_cpu);
    assert_int_equal(m.batch, 1);
    return m;
}

static void is_near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12 + 1e-9 * fabs(b))) {
        fail_msg("%.9g is not %.9g", a, b);
    }
}

static const latency_conv pointwise = {256, 64, 56, 56, 1, 1, 1, 1};
static const latency_conv window = {128, 128, 28, 28, 3, 3, 2, 1};
static const latency_conv filters = {96, 96, 28, 28, 3, 3, 1, 96};

static void kinds_are_told_apart(void **state)
{
    latency_machine m = machine();
    latency_cpu_kind kind;

    (void)state;
    (void)latency_cpu_foretold(&m.cpu, &pointwise, &kind);
    assert_int_equal(kind, LATENCY_CPU_POINTWISE);
    (void)latency_cpu_foretold(&m.cpu, &window, &kind);
    assert_int_equal(kind, LATENCY_CPU_WINDOW);
    is_near(latency_cpu_foretold(&m.cpu, &filters, &kind), 96.0 * 28 * 28 * (9 + 16) * 2 / 96e9);
    assert_int_equal(kind, LATENCY_CPU_DEPTHWISE);
    is_near(latency_cpu_conv(&m.cpu, &pointwise),
            1e-6 + 1.5 * latency_cpu_foretold(&m.cpu, &pointwise, &kind));
}

static void lists_cost_sums_tiles_copies_and_masks(void **state)
{
    latency_machine m = machine();
    const double map = 28.0 * 28;
    double terms[LATENCY_CPU_TERMS];
    double whole[LATENCY_CPU_TERMS];
    double sum = 0;

    (void)state;
    is_near(latency_cpu_listed(&m.cpu, &window, (latency_squares){4, 0}), 1e-6 + map * 2e-9);
    latency_cpu_terms(&m.cpu, &window, (latency_squares){4, 0.5}, terms);
    latency_cpu_terms(&m.cpu, &window, (latency_squares){4, 1}, whole);
    is_near(terms[LATENCY_CPU_MASK], map);
    is_near(2 * terms[LATENCY_CPU_SUMS], whole[LATENCY_CPU_SUMS]);
    assert_true(2 * terms[LATENCY_CPU_TILES] >= whole[LATENCY_CPU_TILES]); /* less full */
    is_near(whole[LATENCY_CPU_COPIES], 0);
    is_near(whole[LATENCY_CPU_WINDOWS], 0);
    for (int i = 0; i < LATENCY_CPU_TERMS; i++) {
        sum += m.cpu.listed[i] * terms[i];
    }
    is_near(latency_cpu_listed(&m.cpu, &window, (latency_squares){4, 0.5}), 1e-6 + sum);
    m.cpu.threads = 2;
    is_near(latency_cpu_listed(&m.cpu, &window, (latency_squares){4, 0.5}), 1e-6 + sum / 2);
}

/* Pixels one by one are copied unless chance puts enough of them side by side. */
static void single_pixels_are_copied(void **state)
{
    latency_machine m = machine();
    double one[LATENCY_CPU_TERMS];
    double fourteen[LATENCY_CPU_TERMS];

    (void)state;
    latency_cpu_terms(&m.cpu, &window, (latency_squares){1, 0.1}, one);
    latency_cpu_terms(&m.cpu, &window, (latency_squares){14, 0.1}, fourteen);
    is_near(fourteen[LATENCY_CPU_COPIES], 0);
    assert_true(one[LATENCY_CPU_COPIES] > 0);
    /* A copied pixel is its window and its results. */
    assert_true(one[LATENCY_CPU_COPIES] < 0.1 * 28 * 28 * (128 * 9 + 128 + 16) * 4);
}

/* Winograd computes whole windows: 7 x 7 of 4 x 4 pixels, each of 16 pixels or 1 square. */
static void windows_are_computed_whole(void **state)
{
    const latency_conv square = {128, 128, 28, 28, 3, 3, 1, 1};
    latency_machine m = machine();
    double all[LATENCY_CPU_TERMS];
    double some[LATENCY_CPU_TERMS];

    (void)state;
    latency_cpu_terms(&m.cpu, &square, (latency_squares){1, 1}, all);
    if (!(all[LATENCY_CPU_WINDOWS] > 0)) {
        skip(); /* the direct sum is faster with this instruction set */
    }
    latency_cpu_terms(&m.cpu, &square, (latency_squares){4, 0.3}, some);
    is_near(some[LATENCY_CPU_WINDOWS], 0.3 * all[LATENCY_CPU_WINDOWS]);
    latency_cpu_terms(&m.cpu, &square, (latency_squares){1, 0.9}, some);
    is_near(some[LATENCY_CPU_WINDOWS], (1 - pow(0.1, 16)) * all[LATENCY_CPU_WINDOWS]);
    is_near(some[LATENCY_CPU_SUMS], 0);
}

/* Windows of 2 x 2 pixels where squares have as many; pixels where few are active. */
static void windows_are_as_large_as_pays(void **state)
{
    const latency_conv square = {256, 256, 14, 14, 3, 3, 1, 1};
    latency_machine m = machine();
    double all[LATENCY_CPU_TERMS];
    double some[LATENCY_CPU_TERMS];
    double fewer[LATENCY_CPU_TERMS];

    (void)state;
    latency_cpu_terms(&m.cpu, &square, (latency_squares){2, 1}, all);
    if (!(all[LATENCY_CPU_WINDOWS] > 0)) {
        skip(); /* the direct sum is faster with this instruction set */
    }
    latency_cpu_terms(&m.cpu, &square, (latency_squares){2, 0.3}, some);
    latency_cpu_terms(&m.cpu, &square, (latency_squares){2, 0.15}, fewer);
    is_near(some[LATENCY_CPU_WINDOWS], 2 * fewer[LATENCY_CPU_WINDOWS]);
    latency_cpu_terms(&m.cpu, &square, (latency_squares){1, 0.05}, some);
    is_near(some[LATENCY_CPU_WINDOWS], 0);
    assert_true(some[LATENCY_CPU_SUMS] > 0);
}

static void blocks(void **state)
{
    latency_machine m = machine();
    latency_network n;
    spry_error error;

    (void)state;
    for (const char *const *name = latency_network_names; *name != NULL; name++) {
        assert_int_equal(latency_network_named(&n, NULL, *name, &error), SPRY_OK);
        for (size_t i = 0; i < n.block_count; i++) {
            const latency_block *b = &n.blocks[i];
            double dense = latency_machine_dense(&m, b);

            for (int skip = LATENCY_SKIP_SQUARES; skip <= LATENCY_SKIP_LAYERS; skip++) {
                double before = 0;

                for (double r = 0; r <= 1; r += 0.25) {
                    const latency_plan plan = {(latency_skip)skip, {4, r}, LATENCY_HALO_RANDOM};
                    double now = latency_machine_sparse(&m, b, &plan, NULL);

                    assert_true(now > before && isfinite(now));
                    before = now;
                }
                assert_true(before > 0.5 * dense); /* factors of lists are their own */
            }
        }
        latency_network_fini(&n);
    }
}

/* What lies around them differs, and where pixels must be copied. */
static void squares_matter_by_their_border(void **state)
{
    latency_machine m = machine();
    latency_network n;
    latency_plan one = {LATENCY_SKIP_SQUARES, {1, 0.3}, LATENCY_HALO_RANDOM};
    latency_plan eight = {LATENCY_SKIP_SQUARES, {8, 0.3}, LATENCY_HALO_RANDOM};
    spry_error error;
    double a;
    double b;

    (void)state;
    assert_int_equal(latency_network_named(&n, NULL, "resnet50", &error), SPRY_OK);
    a = latency_machine_sparse(&m, &n.blocks[1], &one, NULL);
    b = latency_machine_sparse(&m, &n.blocks[1], &eight, NULL);
    assert_true(a > 1.05 * b);
    one.halo = eight.halo = LATENCY_HALO_IGNORE;
    a = latency_machine_sparse(&m, &n.blocks[1], &one, NULL);
    b = latency_machine_sparse(&m, &n.blocks[1], &eight, NULL);
    assert_true(a > b);
    latency_network_fini(&n);
}

static void broken_descriptions(void **state)
{
    static const struct {
        const char *from, *to;
        const char *word;
    } cases[] = {
        {"\"threads\": 1", "\"threads\": 0", "cpu.threads"},
        {"3 GHz", "3 G", "compute.clock"},
        {"\"window\": 1", "\"window\": 0", "cpu.scale.window"},
        {"\"mask_pixel\"", "\"mask_piksel\"", "cpu.listed.mask_pixel is missing"},
        {"\"s8\"", "\"s9\"", "cpu.peak.s9"},
        {"\"triad\": \"80 GB/s\"", "\"triad\": \"80 GB\"", "cpu.l1.triad"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = strstr(description, cases[i].from);
        char json[2048];
        latency_machine m;
        spry_error error;

        assert_non_null(at);
        (void)snprintf(json, sizeof json, "%.*s%s%s", (int)(at - description), description,
                       cases[i].to, at + strlen(cases[i].from));
        assert_int_equal(read_machine(json, &m, &error), SPRY_BAD_INPUT);
        if (strstr(error.what, cases[i].word) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", error.what, cases[i].word);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(lists_cost_sums_tiles_copies_and_masks),
        cmocka_unit_test(single_pixels_are_copied),
        cmocka_unit_test(windows_are_computed_whole),
        cmocka_unit_test(windows_are_as_large_as_pays),
        cmocka_unit_test(blocks),
        cmocka_unit_test(squares_matter_by_their_border),
        cmocka_unit_test(broken_descriptions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
