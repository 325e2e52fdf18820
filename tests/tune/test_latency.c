/* The latency predictor against figures of the published one, four digits each: single operators,
 * whole networks, and the story they tell. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/random.h"
#include "tune/latency_network.h"

static latency_device device(const char *name)
{
    latency_device d;
    target *t;
    spry_error error;

    assert_int_equal(target_load(NULL, name, &t, &error), SPRY_OK);
    assert_int_equal(latency_device_read(&d, t, &error), SPRY_OK);
    assert_int_equal(target_finish(t, &error), SPRY_OK);
    target_destroy(t);
    d.as_published = true;
    return d;
}

static void is_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) {
        fail_msg("%.9g is not %.9g", a, b);
    }
}

/* Seven digits, as the figures have. */
static void seconds(latency l, double expected)
{
    is_near(l.total, expected, 1e-6 * expected);
    is_near(l.total, l.compute + l.traffic + l.launch, 1e-12);
}

static void helpers(void **state)
{
    static const int64_t of_56[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 28, 32, 56, 64};
    int64_t sizes[LATENCY_CANDIDATES];

    (void)state;
    assert_int_equal(latency_candidates(7, sizes), 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(sizes[i], i + 1);
    }
    assert_int_equal(latency_candidates(56, sizes), 17);
    assert_memory_equal(sizes, of_56, sizeof of_56);
    assert_int_equal(latency_candidates(1, sizes), 2);
    for (int64_t n = 1; n < 5000; n += n / 7 + 1) {
        int count = latency_candidates(n, sizes);

        assert_in_range(count, 1, LATENCY_CANDIDATES);
        for (int i = 1; i < count; i++) {
            assert_true(sizes[i - 1] < sizes[i]);
        }
    }
    is_near(latency_fill(100, 64), 0.78125, 0);
    is_near(latency_run_share(4, 0, 3), 2.0 / 3.0, 1e-15);
    is_near(latency_run_share(4, 2, 5), 0.8, 1e-15);
    is_near(latency_run_share(4, 10, 8), 0.5, 0);
    is_near(latency_square_count(56, 56, (latency_squares){4, 0.5}), 98, 0);
    is_near(latency_square_count(7, 7, (latency_squares){99, 0.3}), 1, 0);
    is_near(latency_square_count(7, 5, (latency_squares){2, 1}), 12, 0);
    is_near(latency_square_count(10, 1, (latency_squares){1, 0.7}), 7, 0);
    is_near(latency_square_count(7, 7, (latency_squares){1, 0}), 0, 0);
}

static const latency_conv three = {64, 64, 56, 56, 3, 3, 1, 1};
static const latency_conv narrow = {256, 64, 56, 56, 1, 1, 1, 1};

static void convolutions(void **state)
{
    latency_device d = device("v100");
    latency l = latency_conv_dense(&d, &three);
    static const struct {
        int64_t side;
        double v100;
        double tx2; /* 0: not known */
    } sides[] = {{1, 7.493377e-3, 2.368827e-4},
                 {4, 2.052090e-3, 2.122861e-4},
                 {8, 1.622674e-3, 0},
                 {14, 1.529711e-3, 2.327532e-4},
                 {28, 1.360546e-3, 0}};

    (void)state;
    seconds(l, 2.462862e-3);
    is_near(l.compute, 1.96608e-3, 1e-9);
    is_near(l.traffic, 2.93812e-4 + 1.94970e-4, 1e-9);
    assert_int_equal(l.tile[0], 64);
    assert_int_equal(l.tile[1], 1);
    assert_int_equal(l.tile[2], 8);
    l = latency_conv_squares(&d, &three, (latency_squares){4, 0.5}, false);
    is_near(l.compute, 9.78432e-4, 1e-9);
    is_near(l.traffic, 1.065658e-3, 1e-9);
    assert_int_equal(l.tile[0], 13);
    assert_int_equal(l.tile[3], 2);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        latency_squares q = {sides[i].side, 0.5};

        d = device("v100");
        seconds(latency_conv_squares(&d, &three, q, false), sides[i].v100);
        d = device("tx2");
        if (sides[i].tx2 > 0) {
            seconds(latency_conv_squares(&d, &three, q, false), sides[i].tx2);
        }
    }
    seconds(latency_conv_dense(&d, &three), 3.930648e-4);
    d = device("v100");
    seconds(latency_conv_dense(&d, &narrow), 1.808586e-3);
}

static void moving(void **state)
{
    latency_device d = device("v100");
    const latency_squares one = {1, 0.5};
    const latency_squares four = {4, 0.5};

    (void)state;
    seconds(latency_elementwise(&d, 256, 56, 56, 2), 1.783261e-3);
    seconds(latency_gather(&d, 64, 56, 56, one, 1), 1.420956e-3);
    seconds(latency_gather(&d, 64, 56, 56, four, 1), 4.162893e-4);
    seconds(latency_scatter(&d, 256, 56, 56, four), 1.109005e-3);
    seconds(latency_scatter_add(&d, 256, 56, 56, four), 1.703002e-3);
}

/* Milliseconds per image; side[0] 0: dense. */
static double network(const char *target_name, const char *name, const int64_t side[4],
                      double density)
{
    latency_device d = device(target_name);
    latency_network n;
    spry_error error;
    double sum = 0;
    double last = 0;

    assert_int_equal(latency_network_named(&n, NULL, name, &error), SPRY_OK);
    for (size_t i = 0; i < n.block_count; i++) {
        const latency_block *b = &n.blocks[i];
        const latency_plan plan = {
            LATENCY_SKIP_SQUARES, {side[b->stage], density}, LATENCY_HALO_IGNORE};

        if (i == 0 || !latency_block_equal(b, b - 1)) {
            last = side[0] == 0 ? latency_block_dense(&d, b).total
                                : latency_block_sparse(&d, b, &plan, NULL).total;
        }
        sum += last;
    }
    latency_network_fini(&n);
    return 1e3 * sum / (double)d.batch;
}

static const int64_t dense[4];

static void networks(void **state)
{
    static const double densities[] = {0.3, 0.5, 0.7, 1.0};
    static const struct {
        const char *target, *name;
        int64_t side[4];
        double ms[4];
    } rows[] = {
        {"v100", "resnet101", {1, 1, 1, 1}, {1.483, 2.066, 2.653, 3.513}},
        {"v100", "resnet101", {2, 2, 2, 1}, {1.090, 1.498, 1.852, 2.355}},
        {"v100", "resnet101", {4, 4, 2, 1}, {1.017, 1.393, 1.710, 2.151}},
        {"v100", "resnet101", {8, 4, 7, 1}, {1.062, 1.186, 1.504, 1.822}},
        {"v100", "resnet101", {56, 28, 14, 7}, {1.617, 1.617, 1.625, 1.628}},
        {"tx2", "resnet50", {4, 4, 2, 1}, {9.439, 12.005, 14.537, 17.632}},
        {"tx2", "resnet101", {1, 1, 1, 1}, {16.709, 21.861, 26.999, 33.441}},
        {"tx2", "resnet101", {4, 4, 2, 1}, {16.567, 21.645, 26.688, 32.898}},
        {"tx2", "resnet101", {8, 4, 7, 1}, {22.654, 24.372, 27.292, 36.860}},
        {"nano", "resnet101", {4, 4, 2, 1}, {40.275, 54.207, 68.100, 85.858}},
    };

    (void)state;
    is_near(network("v100", "resnet101", dense, 1), 1.6770, 0.00005);
    is_near(network("tx2", "resnet50", dense, 1), 17.2257, 0.00005);
    is_near(network("tx2", "resnet101", dense, 1), 32.2417, 0.00005);
    is_near(network("nano", "resnet101", dense, 1), 84.5102, 0.00005);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int k = 0; k < 4; k++) {
            is_near(network(rows[i].target, rows[i].name, rows[i].side, densities[k]),
                    rows[i].ms[k], 0.0005);
        }
    }
}

/* The best squares depend on the machine: single pixels do not pay on one, and do on the other. */
static void the_machine_decides(void **state)
{
    static const int64_t pixels[] = {1, 1, 1, 1};
    static const int64_t small[] = {4, 4, 2, 1};
    static const int64_t large[] = {8, 4, 7, 1};
    double v100 = network("v100", "resnet101", dense, 1);
    double tx2 = network("tx2", "resnet101", dense, 1);

    (void)state;
    assert_true(network("v100", "resnet101", pixels, 0.5) > 1.2 * v100);
    assert_true(network("v100", "resnet101", large, 0.5) < 0.72 * v100);
    assert_true(network("v100", "resnet101", large, 0.5) <
                network("v100", "resnet101", small, 0.5));
    assert_true(network("tx2", "resnet101", pixels, 0.5) < 0.7 * tx2);
    assert_true(network("tx2", "resnet101", small, 0.5) < network("tx2", "resnet101", large, 0.5));
}

static latency_block first_block(const char *name, size_t index)
{
    latency_network n;
    latency_block b;
    spry_error error;

    assert_int_equal(latency_network_named(&n, NULL, name, &error), SPRY_OK);
    assert_in_range(index, 0, n.block_count - 1);
    b = n.blocks[index];
    latency_network_fini(&n);
    return b;
}

static void tables_describe_networks(void **state)
{
    static const struct {
        const char *name;
        size_t blocks;
        double gigamacs; /* of the blocks' convolutions, from the literature's totals */
        double tolerance;
    } rows[] = {{"resnet50", 16, 4.09 - 0.12, 0.02},
                {"resnet101", 33, 7.80 - 0.12, 0.03},
                {"regnety-400m", 16, 0.40, 0.02},
                {"regnety-800m", 14, 0.84, 0.04}};

    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        latency_network n;
        spry_error error;
        double macs = 0;

        assert_int_equal(latency_network_named(&n, NULL, rows[r].name, &error), SPRY_OK);
        assert_int_equal(n.block_count, rows[r].blocks);
        assert_int_equal(n.stage_count, 4);
        for (size_t i = 0; i < n.block_count; i++) {
            for (int k = 0; k <= n.blocks[i].conv_count; k++) {
                const latency_conv *c =
                    k < n.blocks[i].conv_count ? &n.blocks[i].convs[k] : &n.blocks[i].shortcut;

                if (k < n.blocks[i].conv_count || n.blocks[i].has_shortcut) {
                    macs += (double)(c->inputs / c->groups * c->outputs * c->height * c->width *
                                     c->kernel_height * c->kernel_width);
                }
            }
        }
        assert_int_equal(latency_block_last(&n.blocks[n.block_count - 1])->height, 7);
        is_near(macs / 1e9, rows[r].gigamacs, rows[r].tolerance);
        latency_network_fini(&n);
    }
    for (const char *const *name = latency_network_names; *name != NULL; name++) {
        (void)first_block(*name, 0);
    }
    {
        latency_network n;
        spry_error error;

        assert_int_equal(latency_network_named(&n, NULL, "resnet51", &error), SPRY_USAGE);
        latency_network_fini(&n);
    }
}

static void masker_goes_where_it_is_cheaper(void **state)
{
    latency_device d = device("v100");
    latency_block b = first_block("resnet50", 1);
    latency_plan plan = {LATENCY_SKIP_SQUARES, {4, 0.5}, LATENCY_HALO_IGNORE};
    latency_conv wider = b.convs[0];
    latency sum;
    bool fused = false;

    (void)state;
    wider.outputs++;
    seconds(latency_conv_dense(&d, &wider), 1.921779e-3);
    sum = latency_block_sparse(&d, &b, &plan, &fused);
    assert_true(fused);
    for (int i = 1; i < 3; i++) {
        sum.total -= latency_conv_squares(&d, &b.convs[i], plan.squares, i == 2).total;
    }
    sum.total -= latency_scatter_add(&d, 256, 56, 56, plan.squares).total;
    is_near(sum.total, 1.921779e-3, 1e-9);
    /* At few squares, or a low price of launches, apart. */
    d = device("tx2");
    plan.squares = (latency_squares){4, 0.01};
    (void)latency_block_sparse(&d, &b, &plan, &fused);
    assert_false(fused);
}

/* The share of pixels that 3x3 windows of random squares read, counted. */
static double dilated_by_counting(const latency_conv *c, latency_squares q)
{
    enum { DRAWS = 300, MOST = 64 };
    static bool active[MOST][MOST];
    static bool read[MOST][MOST];
    spry_random random = spry_random_stream(7, 0);
    int64_t pixels = 0;

    for (int draw = 0; draw < DRAWS; draw++) {
        memset(read, 0, sizeof read);
        for (int64_t y = 0; y < c->height; y++) {
            for (int64_t x = 0; x < c->width; x++) {
                if (y % q.side == 0 && x % q.side == 0) {
                    active[y][x] = spry_random_f64(&random) < q.density;
                } else {
                    active[y][x] = active[y - y % q.side][x - x % q.side];
                }
                for (int64_t k = 0; active[y][x] && k < c->kernel_height * c->kernel_width; k++) {
                    int64_t v = y * c->stride - c->kernel_height / 2 + k / c->kernel_width;
                    int64_t u = x * c->stride - c->kernel_width / 2 + k % c->kernel_width;

                    if (v >= 0 && v < c->height * c->stride && u >= 0 && u < c->width * c->stride) {
                        read[v][u] = true;
                    }
                }
            }
        }
        for (int64_t y = 0; y < MOST; y++) {
            for (int64_t x = 0; x < MOST; x++) {
                pixels += read[y][x];
            }
        }
    }
    return (double)pixels / DRAWS / (double)(c->height * c->width * c->stride * c->stride);
}

static void halo_is_that_of_random_masks(void **state)
{
    static const int64_t sides[] = {1, 2, 3, 4, 7, 14, 50};

    (void)state;
    for (int64_t stride = 1; stride <= 2; stride++) {
        for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
            for (int64_t kernel = 1; kernel <= 5; kernel += 2) {
                const latency_conv c = {1, 1, 14, 13, kernel, kernel, stride, 1};
                const latency_squares q = {sides[i], 0.4};

                is_near(latency_dilated(&c, q), dilated_by_counting(&c, q), 0.06);
            }
        }
    }
    is_near(latency_dilated(&three, (latency_squares){4, 0}), 0, 0);
    is_near(latency_dilated(&three, (latency_squares){4, 1}), 1, 1e-12);
}

static void more_density_costs_more(void **state)
{
    static const char *const names[] = {"v100", "tx2", "rtx3090", "rtx3060"};
    static const int64_t sides[] = {1, 3, 4, 14, 100};

    (void)state;
    for (size_t n = 0; n < 4; n++) {
        latency_device d = device(names[n]);

        d.overlaps = n == 3;
        for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
            double before = 0;

            for (double r = 0; r <= 1; r += 0.0625) {
                double now =
                    latency_conv_squares(&d, &three, (latency_squares){sides[i], r}, false).total;

                assert_true(now >= before);
                before = now;
            }
        }
    }
}

static void layers_and_channels(void **state)
{
    latency_device d = device("v100");
    latency_block b = first_block("resnet50", 1);
    double whole = latency_block_dense(&d, &b).total;
    double before[2] = {0, 0};

    (void)state;
    for (double r = 0; r <= 1; r += 0.25) {
        latency_plan plan = {LATENCY_SKIP_LAYERS, {1, r}, LATENCY_HALO_IGNORE};
        double layers = latency_block_sparse(&d, &b, &plan, NULL).total;
        double channels;

        plan.skip = LATENCY_SKIP_CHANNELS;
        channels = latency_block_sparse(&d, &b, &plan, NULL).total;
        assert_true(layers > before[0] && channels >= before[1]);
        is_near(layers - before[0], r == 0 ? layers : 0.25 * whole, 1e-9);
        before[0] = layers;
        before[1] = channels;
    }
    assert_true(before[1] > whole); /* all channels, and the masker */
    is_near(latency_channel_load(64, 64, 0.5), 0.5, 0.01);
    is_near(latency_channel_load(64, 8, 1), 1, 0);
    is_near(latency_channel_load(64, 8, 0), 0, 0);
    /* The largest of eight binomials of 8 draws. */
    is_near(latency_channel_load(64, 8, 0.5), 0.748, 0.01);
    assert_true(latency_channel_load(64, 8, 0.5) == latency_channel_load(64, 8, 0.5));
}

/* Remembered tilings change nothing but the time of finding them. */
static void memory_changes_nothing(void **state)
{
    static latency_memo memo;
    latency_device plain = device("v100");
    latency_device d = plain;
    latency_block b = first_block("regnety-400m", 1);

    (void)state;
    d.memo = &memo;
    for (int64_t side = 1; side <= 16; side *= 4) {
        for (double r = 0.25; r <= 1; r += 0.25) {
            const latency_plan plan = {LATENCY_SKIP_SQUARES, {side, r}, LATENCY_HALO_RANDOM};

            assert_true(latency_block_sparse(&d, &b, &plan, NULL).total ==
                        latency_block_sparse(&plain, &b, &plan, NULL).total);
            assert_true(latency_block_dense(&d, &b).total == latency_block_dense(&plain, &b).total);
        }
    }
    assert_in_range(memo.count, 8, 40);
}

/* What the published program gets wrong is right by default. */
static void corrected(void **state)
{
    latency_device d = device("v100");
    latency_block b = first_block("resnet50", 0);
    const latency_conv stepping = {256, 512, 28, 28, 1, 1, 2, 1};
    double published = latency_conv_dense(&d, &stepping).total;
    double block = latency_block_dense(&d, &b).total;
    double linear = latency_linear(&d, 2048, 1000).total;

    (void)state;
    d.as_published = false;
    assert_true(latency_conv_dense(&d, &stepping).total < published);
    assert_true(latency_block_dense(&d, &b).total > block);
    assert_true(latency_linear(&d, 2048, 1000).total != linear);
    seconds(latency_conv_dense(&d, &three), 2.462862e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helpers),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(moving),
        cmocka_unit_test(networks),
        cmocka_unit_test(the_machine_decides),
        cmocka_unit_test(tables_describe_networks),
        cmocka_unit_test(masker_goes_where_it_is_cheaper),
        cmocka_unit_test(halo_is_that_of_random_masks),
        cmocka_unit_test(more_density_costs_more),
        cmocka_unit_test(layers_and_channels),
        cmocka_unit_test(memory_changes_nothing),
        cmocka_unit_test(corrected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
