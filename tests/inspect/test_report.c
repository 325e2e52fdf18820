/* Reports on small graphs whose layers are known, on machines whose limits are given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "inspect/report/report.h"
#include "model/model.h"
#include "spry/feed.h"
#include "support/net.h"

/* x -> Conv first -> Relu -> Conv second -> + Relu's -> Relu -> y: two layers, since the second
 * Relu and the sum run with the second convolution. */
static void build(net *n)
{
    const int64_t shape[] = {1, 16, 8, 8};
    const int64_t weight_shape[] = {16, 16, 3, 3};
    const int64_t pads[] = {1, 1, 1, 1};
    static const float weight[2304];
    int32_t conv;

    net_init(n, 13);
    (void)net_input(n, "x", SPRY_DTYPE_F32, 4, shape);
    (void)net_constant(n, "w", SPRY_DTYPE_F32, 4, weight_shape, weight);
    conv = net_node(n, "Conv", "x w", "c");
    assert_int_equal(graph_set_ints(n->g, conv, "pads", 4, pads, NULL), SPRY_OK);
    n->g->nodes[conv].name = "first";
    (void)net_node(n, "Relu", "c", "r");
    conv = net_node(n, "Conv", "r w", "d");
    assert_int_equal(graph_set_ints(n->g, conv, "pads", 4, pads, NULL), SPRY_OK);
    n->g->nodes[conv].name = "second";
    (void)net_node(n, "Add", "d r", "s");
    (void)net_node(n, "Relu", "s", "y");
    net_output(n, "y");
}

static model model_over(net *n)
{
    static model_opset opsets[] = {{"", 13}};

    return (model){.allocator = alloc_resolve(NULL),
                   .path = "<test>",
                   .main = n->g,
                   .opsets = opsets,
                   .opset_count = 1};
}

static void open_report(const model *m, int members, report *r, spry_feed **feed)
{
    report_options options = {
        .session = spry_session_options_default(), .runs = 5, .with_one_thread = true};
    spry_error error = {0};

    options.session.threads = members;
    assert_int_equal(spry_feed_create(NULL, m, feed, &error), SPRY_OK);
    assert_int_equal(spry_feed_fill_random(*feed, 1, &error), SPRY_OK);
    assert_int_equal(report_open(r, m, *feed, &options, &error), SPRY_OK);
}

static const report_layer *layer_called(const report *r, const char *name)
{
    for (int32_t i = 0; i < r->layer_count; i++) {
        if (strcmp(r->layers[i].name, name) == 0) {
            return &r->layers[i];
        }
    }
    fail_msg("no layer is called %s", name);
    return NULL;
}

static void test_layers(void **state)
{
    spry_feed *feed = NULL;
    report r;
    net n;
    model m;
    double sum = 0.0;
    (void)state;

    build(&n);
    m = model_over(&n);
    open_report(&m, 2, &r, &feed);
    assert_string_equal(layer_called(&r, "first")->fused, "Relu");
    assert_string_equal(layer_called(&r, "second")->fused, "Add, Relu");
    for (int32_t i = 0; i < r.layer_count; i++) {
        const report_layer *l = &r.layers[i];

        assert_true(l->ms >= 0.0 && l->alone_ms >= 0.0 && l->calls == 1.0);
        assert_true(strlen(l->why) > 0);
        sum += report_share(&r, l);
        if (i > 0) {
            assert_true(r.layers[r.slowest[i - 1]].ms >= r.layers[r.slowest[i]].ms);
        }
    }
    assert_true(sum > 0.999 && sum < 1.001);
    /* 16 x 16 x 9 weights at 8 x 8 pixels; x, w, y of 4 bytes; what is alive are inputs and y. */
    assert_true(layer_called(&r, "first")->operations == 2.0 * 2304 * 64);
    assert_true(layer_called(&r, "first")->weight_bytes == 2304.0 * 4);
    assert_true(layer_called(&r, "second")->alive_bytes == 2.0 * 4096);
    assert_int_equal(r.node_count, 5);
    assert_int_equal(r.node_layer[0], r.node_layer[1]);
    assert_int_equal(r.node_layer[2], r.node_layer[3]);
    assert_int_equal(r.node_layer[2], r.node_layer[4]);
    assert_true(r.node_layer[0] >= 0 && r.node_layer[0] < r.node_layer[2]);
    assert_true(r.advice_count >= 3 && r.alone_ms > 0.0);
    report_close(&r);
    spry_feed_destroy(feed);
    net_fini(&n);
}

static void test_spans(void **state)
{
    spry_feed *feed = NULL;
    report r;
    net n;
    model m;
    (void)state;

    build(&n);
    m = model_over(&n);
    open_report(&m, 1, &r, &feed);
    assert_true(r.span_count >= r.layer_count);
    assert_int_equal(r.lane_count, 1);
    assert_true(r.alone_ms < 0.0); /* it is what was measured */
    for (int32_t i = 0; i < r.span_count; i++) {
        assert_true(r.spans[i].start >= 0.0 && r.spans[i].end <= r.drawn_ms);
        assert_true(r.spans[i].layer >= 0 && r.spans[i].depth == 0);
        if (i > 0) {
            assert_true(r.spans[i].start >= r.spans[i - 1].end);
        }
    }
    report_close(&r);
    spry_feed_destroy(feed);
    net_fini(&n);
}

static void test_options(void **state)
{
    report_options options = {.session = spry_session_options_default(), .runs = 51};
    spry_feed *feed = NULL;
    spry_error error = {0};
    report r;
    net n;
    model m;
    (void)state;

    build(&n);
    m = model_over(&n);
    assert_int_equal(spry_feed_create(NULL, &m, &feed, &error), SPRY_OK);
    assert_int_equal(report_open(&r, &m, feed, &options, &error), SPRY_USAGE);
    report_close(&r);
    options.runs = 1; /* inputs are missing */
    assert_int_equal(report_open(&r, &m, feed, &options, &error), SPRY_USAGE);
    report_close(&r);
    spry_feed_destroy(feed);
    net_fini(&n);
}

/* ---- pairs ---- */

static report_layer layer_of(const char *name, const char *type, int64_t macs)
{
    return (report_layer){.row = {.node = name, .type = type, .macs = macs}, .name = name};
}

static void test_match(void **state)
{
    report_layer a[] = {layer_of("conv1", "Conv", 10), layer_of("conv2", "Conv", 20),
                        layer_of("", "Relu", 0), layer_of("old", "Gemm", 30)};
    report_layer b[] = {layer_of("", "QuantizeLinear", 0),
                        layer_of("conv2_quant", "QLinearConv", 20),
                        layer_of("conv1", "QLinearConv", 10), layer_of("new", "QLinearGemm", 30)};
    report first = {.layers = a, .layer_count = 4};
    report second = {.layers = b, .layer_count = 4};
    const int32_t expected[][2] = {{0, 2}, {1, 1}, {2, -1}, {3, 3}, {-1, 0}};
    report_pair *pairs = NULL;
    int32_t count = 0;
    spry_error error = {0};
    (void)state;

    arena_init(&first.memory, NULL, SIZE_MAX);
    assert_int_equal(report_match(&first, &second, &pairs, &count, &error), SPRY_OK);
    assert_int_equal(count, 5);
    for (int32_t i = 0; i < count; i++) {
        assert_int_equal(pairs[i].first, expected[i][0]);
        assert_int_equal(pairs[i].second, expected[i][1]);
    }
    second.layer_count = 0;
    assert_int_equal(report_match(&first, &second, &pairs, &count, &error), SPRY_OK);
    assert_int_equal(count, 4);
    assert_int_equal(pairs[3].second, -1);
    arena_fini(&first.memory);
}

/* ---- bounds, on a machine of round numbers ---- */

static void test_bounds(void **state)
{
    /* 100 GFLOP/s of f32 and 400 of bytes per core; 1000, 100, 50 and 10 GB/s. */
    machine round = {.threads = 2,
                     .core = {.gigaflops = {100.0, 0.0, 400.0}},
                     .sizes = {64e3, 2e6, 32e6},
                     .rates = {1000e9, 100e9, 50e9, 10e9}};
    report_layer layers[5];
    spry_error error = {0};
    report r = {.threads = 2,
                .m = round,
                .layers = layers,
                .layer_count = 5,
                .layers_ms = 5.0,
                .alone_ms = -1.0,
                .had_cpu = 1.0,
                .packed_bytes = 40000000};
    int32_t slowest[] = {0, 1, 2, 3, 4};
    model m = {.path = "<test>"};
    graph *g = NULL;
    arena memory;
    (void)state;

    for (int i = 0; i < 5; i++) {
        layers[i] = layer_of("l", "Conv", 0);
        layers[i].row.kernel = "gemm_f32__c";
        layers[i].row.plan = "";
        layers[i].row.density = -1;
        layers[i].ms = 1.0;
        layers[i].alone_ms = -1.0;
        layers[i].weight_bytes = 0.0;
        layers[i].bytes = 1e6;
    }
    layers[0].operations = 160e6; /* 0.8 ms at 200 GFLOP/s */
    layers[1].bytes = 25e6;       /* 0.5 ms from the L3 cache */
    layers[2].weight_bytes = 5e6; /* 0.5 ms from memory: all weights lie there */
    layers[2].bytes = 5e6;
    layers[4].row.kernel = "reference";
    r.slowest = slowest;
    arena_init(&r.memory, NULL, SIZE_MAX);
    arena_init(&memory, NULL, SIZE_MAX);
    assert_int_equal(graph_create(&memory, NULL, &g, &error), SPRY_OK);
    m.main = g;
    assert_int_equal(report_judge(&r, &m, &error), SPRY_OK);
    assert_int_equal(layers[0].bound, REPORT_ARITHMETIC);
    assert_true(report_reach(&layers[0]) > 0.799 && report_reach(&layers[0]) < 0.801);
    assert_non_null(strstr(layers[0].try_next, "4.0 times as fast"));
    assert_int_equal(layers[1].bound, REPORT_MEMORY);
    assert_int_equal(layers[1].level, MACHINE_L3);
    assert_true(layers[1].memory_ms > 0.499 && layers[1].memory_ms < 0.501);
    assert_int_equal(layers[2].bound, REPORT_MEMORY);
    assert_non_null(strstr(layers[2].try_next, "fewer bits per weight"));
    assert_int_equal(layers[3].bound, REPORT_OVERHEAD);
    assert_int_equal(layers[4].bound, REPORT_GENERAL);
    assert_int_equal(machine_level_of(&round, 64e3), MACHINE_L1);
    assert_int_equal(machine_level_of(&round, 33e6), MACHINE_DRAM);
    assert_true(machine_peak(&round, PEAK_BF16, 2) == 200.0); /* as f32 where there is none */
    arena_fini(&memory);
    arena_fini(&r.memory);
}

static void test_machine(void **state)
{
    spry_error error = {0};
    machine m;
    (void)state;

    assert_int_equal(machine_measure(1, &m, &error), SPRY_OK);
    assert_int_equal(m.threads, 1);
    assert_true(m.core.gigaflops[PEAK_F32] > 0.0);
    for (int i = 0; i < MACHINE_LEVELS - 1; i++) {
        assert_true(m.rates[i] >= m.rates[i + 1] && m.rates[i + 1] > 0.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),  cmocka_unit_test(test_spans),
        cmocka_unit_test(test_options), cmocka_unit_test(test_match),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_machine)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
