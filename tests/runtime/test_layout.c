/* What layout_graph makes of graphs, and that results stay what they are. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "runtime/block/block.h"
#include "runtime/execute.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"
#include "runtime/plan.h"
#include "spry/random.h"
#include "support/net.h"

static spry_error error;

enum { OPSET = 13, MOST_VALUES = 40, MOST_OUTPUTS = 8 };

/* ---- building ---- */

typedef struct builder {
    net n;
    spry_random r;
    int32_t made; /* names */
} builder;

static void begin(builder *b, uint64_t stream, int64_t batch, int64_t channels, int64_t height,
                  int64_t width)
{
    const int64_t shape[] = {batch, channels, height, width};

    *b = (builder){.r = spry_random_stream(31, stream)};
    net_init(&b->n, OPSET);
    (void)net_input(&b->n, "x", SPRY_DTYPE_F32, 4, shape);
}

static void weights(builder *b, const char *name, int rank, const int64_t *shape, double bound)
{
    int64_t count = 1;
    float *values;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    values = malloc((size_t)(count + 1) * sizeof *values);
    assert_non_null(values);
    spry_random_fill_uniform(&b->r, values, (size_t)count, (float)-bound, (float)bound);
    (void)net_constant(&b->n, name, SPRY_DTYPE_F32, rank, shape, values);
    free(values);
}

static void integers(builder *b, const char *name, int64_t count, const int64_t *numbers)
{
    (void)net_constant(&b->n, name, SPRY_DTYPE_I64, 1, &count, numbers);
}

static void set_ints(builder *b, int32_t node, const char *name, int64_t count,
                     const int64_t *numbers)
{
    assert_int_equal(graph_set_ints(b->n.g, node, name, count, numbers, &error), SPRY_OK);
}

static void set_int(builder *b, int32_t node, const char *name, int64_t number)
{
    assert_int_equal(graph_set_int(b->n.g, node, name, number, &error), SPRY_OK);
}

/* A square convolution that keeps the size for stride 1, with a bias. */
static void conv(builder *b, const char *from, const char *to, int64_t channels, int64_t filters,
                 int64_t groups, int64_t kernel, int64_t stride)
{
    const int64_t shape[] = {filters, channels / groups, kernel, kernel};
    const int64_t pads[] = {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
    const int64_t strides[] = {stride, stride};
    char names[64];
    char w[16];
    char bias[16];
    int32_t node;

    (void)snprintf(w, sizeof w, "w%d", b->made);
    (void)snprintf(bias, sizeof bias, "b%d", b->made++);
    (void)snprintf(names, sizeof names, "%s %s %s", from, w, bias);
    weights(b, w, 4, shape, 1.7 / sqrt((double)(channels / groups * kernel * kernel)));
    weights(b, bias, 1, &filters, 0.3);
    node = net_node(&b->n, "Conv", names, to);
    set_ints(b, node, "pads", 4, pads);
    set_ints(b, node, "strides", 2, strides);
    set_int(b, node, "group", groups);
}

static void pool(builder *b, const char *type, const char *from, const char *to, int64_t kernel,
                 int64_t stride)
{
    const int64_t shape[] = {kernel, kernel};
    const int64_t strides[] = {stride, stride};
    int32_t node = net_node(&b->n, type, from, to);

    set_ints(b, node, "kernel_shape", 2, shape);
    set_ints(b, node, "strides", 2, strides);
}

static void transpose(builder *b, const char *from, const char *to, int64_t rank,
                      const int64_t *perm)
{
    set_ints(b, net_node(&b->n, "Transpose", from, to), "perm", rank, perm);
}

static const int64_t to_last[] = {0, 2, 3, 1};
static const int64_t to_first[] = {0, 3, 1, 2};

static void infer(builder *b)
{
    if (infer_graph(b->n.g, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static void move(graph *g)
{
    spry_session_options options = spry_session_options_default();

    assert_int_equal(fuse_graph(g, &options, &error), SPRY_OK);
    assert_int_equal(layout_graph(g, &options, &error), SPRY_OK);
    assert_int_equal(fuse_activations(g, &options, &error), SPRY_OK);
    assert_int_equal(block_automatic(g, &options, &error), SPRY_OK);
}

/* ---- running ---- */

static void run(const graph *g, bool is_body, const value *x, value *outputs)
{
    spry_session_options options = spry_session_options_default();
    const value *inputs[] = {x};
    value *slots[MOST_OUTPUTS];
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};

    assert_int_equal(threads_create(NULL, 2, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    for (int i = 0; i < g->output_count; i++) {
        value_init(&outputs[i], NULL);
        slots[i] = &outputs[i];
    }
    if (plan_create(g, &options, team, is_body, &p, &error) != SPRY_OK ||
        execute_plan(&e, p, NULL, inputs, 1, slots, g->output_count) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
    threads_destroy(team);
}

static void compare(const tensor *got, const tensor *wanted)
{
    const float *a = got->data;
    const float *b = wanted->data;
    double most = 0;

    assert_true(tensor_same_shape(got, wanted));
    for (int64_t i = 0; i < tensor_count(wanted); i++) {
        most = fmax(most, fabs((double)b[i]));
    }
    for (int64_t i = 0; i < tensor_count(wanted); i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= 1e-5 * (1 + most))) {
            fail_msg("element %lld is %g, the reference says %g", (long long)i, (double)a[i],
                     (double)b[i]);
        }
    }
}

/* Moves the inferred graph and compares its results with those of the graph as it was, which
 * reference kernels run. */
static void move_and_compare(builder *b)
{
    const graph_type *type = &b->n.g->values[net_value(&b->n, "x")].type;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    value wanted[MOST_OUTPUTS];
    value got[MOST_OUTPUTS];
    graph *moved;
    value x;

    value_init(&x, NULL);
    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    assert_int_equal(tensor_init_owned(&x.tensor, NULL, SPRY_DTYPE_F32, type->rank, shape, NULL),
                     SPRY_OK);
    x.kind = SPRY_VALUE_TENSOR;
    x.dtype = SPRY_DTYPE_F32;
    spry_random_fill_uniform(&b->r, x.tensor.data, (size_t)tensor_count(&x.tensor), -1.0f, 1.0f);
    assert_int_equal(graph_copy(b->n.g, &b->n.memory, NULL, &moved, NULL), SPRY_OK);
    move(moved);
    run(b->n.g, true, &x, wanted);
    run(moved, false, &x, got);
    for (int i = 0; i < b->n.g->output_count; i++) {
        compare(&got[i].tensor, &wanted[i].tensor);
        value_fini(&got[i]);
        value_fini(&wanted[i]);
    }
    value_fini(&x);
    b->n.g = moved;
}

static int moved_nodes(const net *n)
{
    int count = 0;

    for (int32_t i = 0; i < n->g->node_count; i++) {
        count += !n->g->nodes[i].removed && layout_is_nhwc(&n->g->nodes[i]);
    }
    return count;
}

/* Transposes that read what a convolution may read as it is do not count. */
static int transposes(const net *n)
{
    return net_count(n, "Transpose");
}

/* ---- rules ---- */

/* Everything between the input and the classifier moves; edges of one pixel are views. */
static void test_network(void **state)
{
    static const int64_t shape[] = {32, 10};
    builder b;

    (void)state;
    begin(&b, 1, 2, 16, 12, 12);
    conv(&b, "x", "c1", 16, 32, 1, 3, 1);
    (void)net_node(&b.n, "Relu", "c1", "r1");
    pool(&b, "MaxPool", "r1", "p1", 2, 2);
    conv(&b, "p1", "c2", 32, 32, 1, 3, 1);
    (void)net_node(&b.n, "Add", "c2 p1", "sum");
    (void)net_node(&b.n, "HardSigmoid", "sum", "active");
    (void)net_node(&b.n, "GlobalAveragePool", "active", "mean");
    (void)net_node(&b.n, "Flatten", "mean", "flat");
    weights(&b, "wg", 2, shape, 0.3);
    (void)net_node(&b.n, "MatMul", "flat wg", "y");
    net_output(&b.n, "y");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 4);
    assert_true(transposes(&b.n) <= 1); /* of the input */
    assert_string_equal(net_find(&b.n, "MaxPool")->domain, LAYOUT_DOMAIN);
    net_fini(&b.n);
}

/* A squeeze-and-excite gate, constants per channel, joining and splitting channels. */
static void test_channels(void **state)
{
    static const int64_t per_channel[] = {1, 32, 1, 1};
    static const int64_t short_form[] = {32, 1, 1};
    static const int64_t parts[] = {24, 40};
    builder b;

    (void)state;
    begin(&b, 2, 1, 16, 9, 7);
    conv(&b, "x", "c1", 16, 32, 1, 3, 1);
    (void)net_node(&b.n, "GlobalAveragePool", "c1", "mean");
    conv(&b, "mean", "small", 32, 8, 1, 1, 1);
    (void)net_node(&b.n, "Relu", "small", "positive");
    conv(&b, "positive", "large", 8, 32, 1, 1, 1);
    (void)net_node(&b.n, "Sigmoid", "large", "gate");
    (void)net_node(&b.n, "Mul", "c1 gate", "gated");
    weights(&b, "scale", 4, per_channel, 1);
    weights(&b, "shift", 3, short_form, 1);
    (void)net_node(&b.n, "Mul", "scale gated", "scaled");
    (void)net_node(&b.n, "Add", "scaled shift", "shifted");
    set_int(&b, net_node(&b.n, "Concat", "gated shifted", "joined"), "axis", -3);
    integers(&b, "parts", 2, parts);
    set_int(&b, net_node(&b.n, "Split", "joined parts", "left right"), "axis", 1);
    conv(&b, "left", "c3", 24, 16, 1, 3, 1);
    conv(&b, "right", "c4", 40, 16, 1, 3, 1);
    (void)net_node(&b.n, "Add", "c3 c4", "y");
    net_output(&b.n, "y");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 6);
    assert_true(transposes(&b.n) <= 2); /* of the input and the result */
    net_fini(&b.n);
}

/* Axes in lists. */
static void test_lists(void **state)
{
    static const int64_t pads[] = {0, 1, 2, 0, 0, 0, 1, 3};
    static const int64_t starts[] = {1, 2};
    static const int64_t ends[] = {6, 30};
    static const int64_t axes[] = {-1, 1};
    static const int64_t pixels[] = {2, 3};
    builder b;

    (void)state;
    begin(&b, 3, 2, 16, 8, 8);
    conv(&b, "x", "c1", 16, 31, 1, 3, 1);
    integers(&b, "pads", 8, pads);
    (void)net_node(&b.n, "Pad", "c1 pads", "padded");
    integers(&b, "starts", 2, starts);
    integers(&b, "ends", 2, ends);
    integers(&b, "axes", 2, axes);
    (void)net_node(&b.n, "Slice", "padded starts ends axes", "cut");
    set_int(&b, net_node(&b.n, "Softmax", "cut", "shares"), "axis", 1);
    conv(&b, "shares", "c2", 28, 16, 1, 3, 1);
    set_ints(&b, net_node(&b.n, "ReduceMean", "c2", "mean"), "axes", 2, pixels);
    set_int(&b, (int32_t)(net_find(&b.n, "ReduceMean") - b.n.g->nodes), "keepdims", 0);
    net_output(&b.n, "mean");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 3);
    assert_true(transposes(&b.n) <= 1);
    net_fini(&b.n);
}

/* Factors per axis, and statistics per channel. */
static void test_upscale(void **state)
{
    static const int64_t filters = 24;
    static const float factors[] = {1, 1, 2, 3};
    static const int64_t four = 4;
    static const char *const modes[] = {"nearest", "linear"};
    float variance[24];
    builder b;

    (void)state;
    for (int i = 0; i < 24; i++) {
        variance[i] = 0.5f + (float)i / 8;
    }
    for (int mode = 0; mode < 2; mode++) {
        int32_t node;

        begin(&b, 10, 2, 16, 8, 8);
        conv(&b, "x", "c1", 16, 24, 1, 3, 1);
        (void)net_node(&b.n, "Tanh", "c1", "t1");
        weights(&b, "scale", 1, &filters, 1);
        weights(&b, "shift", 1, &filters, 1);
        weights(&b, "mean", 1, &filters, 1);
        (void)net_constant(&b.n, "variance", SPRY_DTYPE_F32, 1, &filters, variance);
        (void)net_node(&b.n, "BatchNormalization", "t1 scale shift mean variance", "normal");
        (void)net_constant(&b.n, "factors", SPRY_DTYPE_F32, 1, &four, factors);
        node = net_node(&b.n, "Resize", "normal - factors", "larger");
        assert_int_equal(graph_set_string(b.n.g, node, "mode", modes[mode], &error), SPRY_OK);
        conv(&b, "larger", "y", 24, 16, 1, 3, 1);
        net_output(&b.n, "y");
        infer(&b);
        move_and_compare(&b);
        assert_int_equal(moved_nodes(&b.n), 3);
        assert_true(transposes(&b.n) <= 2);
        net_fini(&b.n);
    }
}

/* A value that is read on both sides is turned once, and outputs are planar. */
static void test_both_sides(void **state)
{
    builder b;

    (void)state;
    begin(&b, 4, 1, 16, 8, 8);
    conv(&b, "x", "c1", 16, 32, 1, 3, 1);
    conv(&b, "c1", "c2", 32, 32, 1, 3, 1);
    set_int(&b, net_node(&b.n, "LRN", "c1", "outside"), "size", 3);
    set_int(&b, net_node(&b.n, "LRN", "c1", "outside_too"), "size", 5);
    net_output(&b.n, "c1");
    net_output(&b.n, "c2");
    net_output(&b.n, "outside");
    net_output(&b.n, "outside_too");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 2);
    assert_true(transposes(&b.n) <= 3);
    assert_int_equal(b.n.g->values[net_value(&b.n, "c1")].type.dims[1].size, 32);
    net_fini(&b.n);
}

/* A body that captures an image sees it as the file has it. */
static void test_capture(void **state)
{
    static const int64_t none[] = {0};
    static const uint8_t yes = 1;
    builder b;
    graph *bodies[2];
    int32_t node;

    (void)state;
    begin(&b, 5, 1, 16, 8, 8);
    conv(&b, "x", "c1", 16, 32, 1, 3, 1);
    conv(&b, "c1", "c2", 32, 32, 1, 3, 1);
    (void)net_constant(&b.n, "yes", SPRY_DTYPE_BOOL, 0, none, &yes);
    (void)net_node(&b.n, "Identity", "c2", "c2_again");
    node = net_node(&b.n, "If", "yes", "chosen");
    for (int i = 0; i < 2; i++) {
        net body = {.opset = OPSET, .memory = b.n.memory};
        graph_attribute attribute = {.name = i == 0 ? "then_branch" : "else_branch",
                                     .kind = GRAPH_ATTRIBUTE_GRAPH,
                                     .count = 1};

        assert_int_equal(graph_create(&b.n.memory, b.n.g, &bodies[i], NULL), SPRY_OK);
        bodies[i]->outputs = arena_array(&b.n.memory, 1, sizeof(int32_t));
        body.g = bodies[i];
        (void)net_node(&body, "Relu", "c1", "inner");
        net_output(&body, "inner");
        attribute.as.graphs = &bodies[i];
        assert_int_equal(graph_set_attribute(b.n.g, node, &attribute, NULL), SPRY_OK);
    }
    net_output(&b.n, "chosen");
    net_output(&b.n, "c2_again");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 2);
    net_fini(&b.n);
}

/* Unknown sizes stay planar, and so does what gains less than its edges cost. */
static void test_left_alone(void **state)
{
    builder b;

    (void)state;
    begin(&b, 6, -1, 16, 8, 8);
    conv(&b, "x", "y", 16, 32, 1, 3, 1);
    net_output(&b.n, "y");
    infer(&b);
    move(b.n.g);
    assert_int_equal(moved_nodes(&b.n), 0);
    net_fini(&b.n);

    begin(&b, 7, 1, 8, 30, 30);
    set_int(&b, net_node(&b.n, "LRN", "x", "before"), "size", 3);
    conv(&b, "before", "c", 8, 8, 1, 1, 1);
    set_int(&b, net_node(&b.n, "LRN", "c", "y"), "size", 3);
    net_output(&b.n, "y");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 0);
    assert_int_equal(transposes(&b.n), 0);
    net_fini(&b.n);
}

/* Transposes of the file's own go where they meet ours. */
static void test_own_transposes(void **state)
{
    static const int64_t shape[] = {1, 32, 64};
    static const int64_t back[] = {0, 2, 1};
    builder b;

    (void)state;
    begin(&b, 8, 1, 8, 8, 16);
    transpose(&b, "x", "turned", 4, to_first);
    conv(&b, "turned", "c1", 16, 32, 1, 3, 1);
    transpose(&b, "c1", "y", 4, to_last);
    net_output(&b.n, "y");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 1);
    assert_int_equal(transposes(&b.n), 0);
    net_fini(&b.n);

    /* Patches as tokens. */
    begin(&b, 9, 1, 16, 8, 8);
    conv(&b, "x", "c1", 16, 32, 1, 3, 1);
    integers(&b, "shape", 3, shape);
    (void)net_node(&b.n, "Reshape", "c1 shape", "rows");
    transpose(&b, "rows", "y", 3, back);
    net_output(&b.n, "y");
    infer(&b);
    move_and_compare(&b);
    assert_int_equal(moved_nodes(&b.n), 1);
    assert_true(transposes(&b.n) <= 1);
    net_fini(&b.n);
}

/* A wide image between a convolution of pixels and a depthwise one is never made, nor one between
 * that and a convolution of pixels again, if it is large. */
static void test_pair(void **state)
{
    static const struct {
        int64_t batch, height, width, kernel, stride;
        int nodes;
    } cases[] = {
        {1, 40, 41, 3, 1, 2}, {2, 37, 45, 5, 2, 3}, {1, 71, 24, 3, 2, 3}, {1, 5, 400, 7, 1, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        builder b;

        begin(&b, 20 + i, cases[i].batch, 16, cases[i].height, cases[i].width);
        conv(&b, "x", "c1", 16, 16, 1, 3, 1);
        conv(&b, "c1", "wide", 16, 100, 1, 1, 1);
        (void)net_node(&b.n, "Sigmoid", "wide", "active");
        conv(&b, "active", "depth", 100, 100, 100, cases[i].kernel, cases[i].stride);
        (void)net_node(&b.n, "Relu", "depth", "positive");
        conv(&b, "positive", "c2", 100, 16, 1, 1, 1);
        net_output(&b.n, "c2");
        infer(&b);
        move_and_compare(&b);
        assert_int_equal(moved_nodes(&b.n), cases[i].nodes);
        assert_int_equal(net_count(&b.n, "Block"), 1);
        net_fini(&b.n);
    }
}

/* The image in between is read twice, or small: nothing is paired. */
static void test_no_pair(void **state)
{
    builder b;

    (void)state;
    for (int is_small = 0; is_small < 2; is_small++) {
        begin(&b, 30, 1, 16, is_small ? 9 : 48, 48);
        conv(&b, "x", "wide", 16, 100, 1, 1, 1);
        conv(&b, "wide", "depth", 100, 100, 100, 3, 1);
        conv(&b, "depth", "y", 100, 16, 1, 3, 1);
        net_output(&b.n, "y");
        if (!is_small) {
            conv(&b, "wide", "other", 100, 16, 1, 3, 1);
            net_output(&b.n, "other");
        }
        infer(&b);
        move_and_compare(&b);
        assert_int_equal(moved_nodes(&b.n), is_small ? 3 : 4);
        net_fini(&b.n);
    }
}

/* ---- random graphs ---- */

typedef struct made {
    char name[8];
    int64_t shape[4];
} made;

typedef struct forest {
    builder b;
    made values[MOST_VALUES];
    int count;
} forest;

static int64_t below(forest *f, int64_t bound)
{
    return (int64_t)spry_random_below(&f->b.r, (uint64_t)bound);
}

static const made *any(forest *f)
{
    return &f->values[below(f, f->count)];
}

/* A value of the same shape, or of one that differs in channels only. */
static const made *like(forest *f, const made *m, bool other_channels)
{
    for (int tries = 0; tries < 20; tries++) {
        const made *found = any(f);

        if (found->shape[2] == m->shape[2] && found->shape[3] == m->shape[3] &&
            (other_channels || found->shape[1] == m->shape[1])) {
            return found;
        }
    }
    return m;
}

static const char *next_name(forest *f)
{
    made *m = &f->values[f->count];

    (void)snprintf(m->name, sizeof m->name, "v%d", f->count);
    return m->name;
}

static void add_conv(forest *f, const made *x)
{
    int64_t kind = below(f, 3);
    int64_t filters = kind == 0 ? x->shape[1] : 8 * (1 + below(f, 5));

    conv(&f->b, x->name, next_name(f), x->shape[1], filters, kind == 0 ? filters : 1,
         kind == 1 ? 1 : 3, 1 + below(f, 2));
}

static void add_gate(forest *f, const made *x)
{
    char mean[16];
    char gate[16];
    char product[40];

    (void)snprintf(mean, sizeof mean, "m%d", f->count);
    (void)snprintf(gate, sizeof gate, "g%d", f->count);
    (void)snprintf(product, sizeof product, "%s %s", gate, x->name);
    (void)net_node(&f->b.n, "GlobalMaxPool", x->name, mean);
    conv(&f->b, mean, gate, x->shape[1], x->shape[1], 1, 1, 1);
    (void)net_node(&f->b.n, "Mul", product, next_name(f));
}

static void add_pair(forest *f, const made *x)
{
    static const char *const types[] = {"Add", "Mul", "Sub", "Max"};
    bool joins = below(f, 2) == 0;
    const made *y = like(f, x, joins);
    char names[40];
    int32_t node;

    (void)snprintf(names, sizeof names, "%s %s", x->name, y->name);
    if (joins) {
        node = net_node(&f->b.n, "Concat", names, next_name(f));
        set_int(&f->b, node, "axis", 1);
    } else {
        (void)net_node(&f->b.n, types[below(f, 4)], names, next_name(f));
    }
}

static void add_one(forest *f, const made *x)
{
    static const char *const types[] = {"Relu", "Sigmoid", "Elu", "Tanh", "Neg"};
    char name[16];
    char names[40];
    int64_t shape[] = {x->shape[1], 1, 1};

    switch (below(f, 6)) {
    case 0:
        if (x->shape[2] > 2 && x->shape[3] > 2) {
            pool(&f->b, below(f, 2) != 0 ? "MaxPool" : "AveragePool", x->name, next_name(f), 2, 2);
            return;
        }
        break;
    case 1:
        (void)snprintf(name, sizeof name, "k%d", f->count);
        (void)snprintf(names, sizeof names, "%s %s", name, x->name);
        weights(&f->b, name, 3, shape, 1);
        (void)net_node(&f->b.n, "Add", names, next_name(f));
        return;
    case 2:
        (void)snprintf(name, sizeof name, "t%d", f->count);
        transpose(&f->b, x->name, name, 4, to_last);
        (void)snprintf(names, sizeof names, "s%d", f->count);
        (void)net_node(&f->b.n, "Softmax", name, names);
        transpose(&f->b, names, next_name(f), 4, to_first);
        return;
    case 3: set_int(&f->b, net_node(&f->b.n, "LRN", x->name, next_name(f)), "size", 3); return;
    default: break;
    }
    (void)net_node(&f->b.n, types[below(f, 5)], x->name, next_name(f));
}

static void grow(forest *f)
{
    made x = *any(f);
    const graph_type *type;

    switch (below(f, 7)) {
    case 0:
    case 1:
    case 2: add_conv(f, &x); break;
    case 3: add_gate(f, &x); break;
    case 4: add_pair(f, &x); break;
    default: add_one(f, &x); break;
    }
    infer(&f->b);
    type = &f->b.n.g->values[net_value(&f->b.n, f->values[f->count].name)].type;
    for (int i = 0; i < 4; i++) {
        f->values[f->count].shape[i] = type->dims[i].size;
    }
    f->count++;
}

static void test_random_graphs(void **state)
{
    enum { ROUNDS = 60, STEPS = 14 };

    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        static forest f;
        spry_random r = spry_random_stream(32, round);
        const int64_t shape[] = {
            1 + (int64_t)spry_random_below(&r, 2), 3 + (int64_t)spry_random_below(&r, 30),
            5 + (int64_t)spry_random_below(&r, 9), 5 + (int64_t)spry_random_below(&r, 9)};

        f = (forest){.count = 1};
        begin(&f.b, 100 + round, shape[0], shape[1], shape[2], shape[3]);
        (void)snprintf(f.values[0].name, sizeof f.values[0].name, "x");
        memcpy(f.values[0].shape, shape, sizeof shape);
        for (int i = 0; i < STEPS; i++) {
            grow(&f);
        }
        net_output(&f.b.n, f.values[f.count - 1].name);
        net_output(&f.b.n, f.values[f.count - 2].name);
        net_output(&f.b.n, f.values[f.count / 2].name);
        move_and_compare(&f.b);
        net_fini(&f.b.n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network),       cmocka_unit_test(test_channels),
        cmocka_unit_test(test_lists),         cmocka_unit_test(test_upscale),
        cmocka_unit_test(test_both_sides),    cmocka_unit_test(test_capture),
        cmocka_unit_test(test_left_alone),    cmocka_unit_test(test_own_transposes),
        cmocka_unit_test(test_pair),          cmocka_unit_test(test_no_pair),
        cmocka_unit_test(test_random_graphs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
