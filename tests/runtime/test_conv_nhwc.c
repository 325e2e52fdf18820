/* The providers of channels-last convolutions against the reference kernel of Conv, over random
 * geometries: with bias, residual, clamp and activation, and for planar inputs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/isa.h"
#include "model/infer.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "runtime/execute.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"
#include "runtime/plan.h"
#include "support/net.h"
#include "support/sample.h"

static const op moved_op = {.name = "Moved",
                            .domain = LAYOUT_DOMAIN,
                            .min_inputs = 1,
                            .max_inputs = OP_VARIADIC,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .run = chain_refuse_to_run,
                            .cost = chain_cost};

/* One convolution. Arrays named _last are channels-last, the others as ONNX has them. */
typedef struct trial {
    spry_random r;
    int axes;
    int64_t groups, in_shape[4], weights_shape[4], out_shape[4];
    int64_t strides[2], dilations[2], pads[4];
    float *x, *x_last, *weights, *bias, *residual_last, *y, *y_last;
    bool with_bias, with_residual, with_clamp, with_sigmoid, is_planar, is_depthwise;
} trial;

static int64_t product(int count, const int64_t *sizes)
{
    int64_t p = 1;

    for (int i = 0; i < count; i++) {
        p *= sizes[i];
    }
    return p;
}

static float *floats(trial *t, int64_t count)
{
    float *values = malloc((size_t)(count + 1) * sizeof *values);

    assert_non_null(values);
    spry_random_fill_uniform(&t->r, values, (size_t)count, -1.0f, 1.0f);
    return values;
}

/* Sizes of a channels-last image of those of a planar one. */
static void turn_shape(int rank, const int64_t *planar, int64_t *last)
{
    last[0] = planar[0];
    for (int i = 2; i < rank; i++) {
        last[i - 1] = planar[i];
    }
    last[rank - 1] = planar[1];
}

static void turn(int rank, const int64_t *shape, const float *planar, float *last)
{
    int64_t pixels = product(rank - 2, shape + 2);
    int64_t channels = shape[1];

    for (int64_t i = 0; i < shape[0] * channels * pixels; i++) {
        int64_t image = i / pixels / channels;

        last[(image * pixels + i % pixels) * channels + i / pixels % channels] = planar[i];
    }
}

/* Runs the graph on x, by that provider or (NULL) by reference kernels; the result goes to *y
 * (released with value_fini). */
static void run_graph(const net *n, const char *provider_name, int rank, const int64_t *shape,
                      float *x, value *y)
{
    spry_session_options options = spry_session_options_default();
    spry_error error = {0};
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};
    value input;
    const value *inputs[] = {&input};
    value *outputs[] = {y};

    value_init(&input, NULL);
    assert_int_equal(tensor_init(&input.tensor, SPRY_DTYPE_F32, rank, shape, x, NULL), SPRY_OK);
    input.kind = SPRY_VALUE_TENSOR;
    input.dtype = SPRY_DTYPE_F32;
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    if (plan_create(n->g, &options, team, provider_name == NULL, &p, &error) != SPRY_OK ||
        execute_plan(&e, p, NULL, inputs, 1, outputs, 1) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    if (provider_name != NULL) {
        assert_string_equal(p->steps[0].provider->name, provider_name);
    }
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
    threads_destroy(team);
}

static int32_t add_conv(const trial *t, net *n, const char *inputs)
{
    int rank = t->axes + 2;
    int32_t node;

    (void)net_constant(n, "w", SPRY_DTYPE_F32, rank, t->weights_shape, t->weights);
    (void)net_constant(n, "b", SPRY_DTYPE_F32, 1, t->weights_shape, t->bias);
    node = net_node(n, "Conv", inputs, "y");
    assert_int_equal(graph_set_ints(n->g, node, "strides", t->axes, t->strides, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, node, "dilations", t->axes, t->dilations, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, node, "pads", 2 * t->axes, t->pads, NULL), SPRY_OK);
    assert_int_equal(graph_set_int(n->g, node, "group", t->groups, NULL), SPRY_OK);
    net_output(n, "y");
    return node;
}

/* The reference kernel's result, without residual and what follows; false: no such geometry. */
static bool run_reference(trial *t)
{
    int rank = t->axes + 2;
    net n;
    value y;
    bool is_possible;

    net_init(&n, 13);
    value_init(&y, NULL);
    (void)net_input(&n, "x", SPRY_DTYPE_F32, rank, t->in_shape);
    (void)add_conv(t, &n, t->with_bias ? "x w b" : "x w");
    is_possible = infer_graph(n.g, NULL) == SPRY_OK;
    if (is_possible) {
        run_graph(&n, NULL, rank, t->in_shape, t->x, &y);
        for (int i = 0; i < rank; i++) {
            t->out_shape[i] = y.tensor.shape[i];
        }
        t->y = floats(t, product(rank, t->out_shape));
        for (int64_t i = 0; i < product(rank, t->out_shape); i++) {
            t->y[i] = ((float *)y.tensor.data)[i];
        }
        t->y_last = floats(t, product(rank, t->out_shape));
        turn(rank, t->out_shape, t->y, t->y_last);
    }
    value_fini(&y);
    net_fini(&n);
    return is_possible;
}

static double expected_at(const trial *t, int64_t i)
{
    double v = (double)t->y_last[i];

    v += t->with_residual ? (double)t->residual_last[i] : 0.0;
    if (t->with_sigmoid) {
        return 1.0 / (1.0 + exp(-v));
    }
    return t->with_clamp ? fmin(fmax(v, -0.25), 0.5) : v;
}

static void set_finish(const trial *t, graph *g, int32_t node)
{
    if (t->with_sigmoid) {
        assert_int_equal(graph_set_string(g, node, FUSE_ACTIVATION, "sigmoid", NULL), SPRY_OK);
    } else if (t->with_clamp) {
        assert_int_equal(graph_set_float(g, node, FUSE_LOWER, -0.25f, NULL), SPRY_OK);
        assert_int_equal(graph_set_float(g, node, FUSE_UPPER, 0.5f, NULL), SPRY_OK);
    }
}

/* Is it a product of pixels by few filters, with nothing added? */
static bool is_few(const trial *t)
{
    bool is_pixelwise = t->axes == 2 && !t->is_planar && t->groups == 1;

    for (int i = 0; i < t->axes; i++) {
        is_pixelwise = is_pixelwise && t->weights_shape[2 + i] == 1 && t->strides[i] == 1 &&
                       t->pads[i] == 0 && t->pads[t->axes + i] == 0;
    }
    return is_pixelwise && t->weights_shape[0] <= 4 && !t->with_residual && !t->with_sigmoid;
}

static void run_moved(trial *t)
{
    int rank = t->axes + 2;
    int64_t in[4];
    int64_t out[4];
    double terms = (double)product(rank - 1, t->weights_shape + 1);
    net n;
    value y;
    int32_t node;
    graph_node *moved;

    net_init(&n, 13);
    value_init(&y, NULL);
    turn_shape(rank, t->in_shape, in);
    turn_shape(rank, t->out_shape, out);
    t->residual_last = floats(t, product(rank, out));
    (void)net_input(&n, "x", SPRY_DTYPE_F32, rank, t->is_planar ? t->in_shape : in);
    (void)net_constant(&n, "r", SPRY_DTYPE_F32, rank, out, t->residual_last);
    node = add_conv(t, &n,
                    t->with_residual ? (t->with_bias ? "x w b r" : "x w - r")
                                     : (t->with_bias ? "x w b" : "x w"));
    assert_int_equal(graph_set_int(n.g, node, LAYOUT_ATTRIBUTE, 1, NULL), SPRY_OK);
    if (t->is_planar) {
        assert_int_equal(graph_set_int(n.g, node, LAYOUT_PLANAR_INPUT, 1, NULL), SPRY_OK);
    }
    set_finish(t, n.g, node);
    moved = &n.g->nodes[node];
    moved->domain = LAYOUT_DOMAIN;
    moved->op = &moved_op;
    n.g->values[moved->outputs[0]].type = graph_type_tensor(SPRY_DTYPE_F32, rank, out);
    run_graph(&n,
              t->is_depthwise ? "conv_depthwise"
              : is_few(t)     ? "conv_few"
                              : "conv_nhwc",
              rank, t->is_planar ? t->in_shape : in, t->is_planar ? t->x : t->x_last, &y);
    assert_int_equal(y.tensor.rank, rank);
    for (int i = 0; i < rank; i++) {
        assert_int_equal(y.tensor.shape[i], out[i]);
    }
    for (int64_t i = 0; i < product(rank, out); i++) {
        double got = (double)((float *)y.tensor.data)[i];

        if (!(fabs(got - expected_at(t, i)) <= 3e-7 * (10 + terms))) {
            fail_msg("element %lld is %g, expected %g", (long long)i, got, expected_at(t, i));
        }
    }
    value_fini(&y);
    net_fini(&n);
}

static void make_trial(trial *t, uint64_t stream)
{
    int64_t per_group;

    *t = (trial){.r = spry_random_stream(61, stream)};
    t->axes = (int)sample_integer(&t->r, 1, 2);
    t->is_planar = stream % 5 == 0;
    t->is_depthwise = !t->is_planar && stream % 4 == 0;
    t->groups = t->is_planar ? 1 : sample_integer(&t->r, 1, 3);
    per_group = sample_integer(&t->r, t->groups > 1 ? 2 : 1, 40);
    t->weights_shape[0] = t->groups * sample_integer(&t->r, t->groups > 1 ? 9 : 1, 40);
    if (t->is_depthwise) {
        t->groups = sample_integer(&t->r, 2, 70);
        per_group = 1;
        t->weights_shape[0] = t->groups * sample_integer(&t->r, 1, 2);
        if (stream % 8 == 0 && isa_usable(ISA_AVX512)) { /* groups that a register holds */
            t->groups = sample_integer(&t->r, 2, 20);
            per_group = (int64_t)1 << sample_integer(&t->r, 1, 3);
            t->weights_shape[0] = t->groups * per_group;
        }
    }
    t->weights_shape[1] = per_group;
    t->in_shape[0] = sample_integer(&t->r, 1, 3);
    t->in_shape[1] = t->groups * per_group;
    for (int i = 0; i < t->axes; i++) {
        t->weights_shape[2 + i] = stream % 3 == 0 ? 1 : sample_integer(&t->r, 1, 5);
        t->in_shape[2 + i] = sample_integer(&t->r, 1, 20);
        t->strides[i] = sample_integer(&t->r, 1, 2);
        t->dilations[i] = sample_integer(&t->r, 1, 2);
        t->pads[i] = sample_integer(&t->r, 0, 3);
        t->pads[t->axes + i] = sample_integer(&t->r, 0, 3);
    }
    if (stream % 10 == 7) { /* few filters of one pixel */
        t->axes = 2;
        t->weights_shape[0] = t->groups = 1;
        t->weights_shape[0] += sample_integer(&t->r, 0, 3);
        t->weights_shape[1] = t->in_shape[1];
        t->in_shape[3] = sample_integer(&t->r, 1, 20);
        for (int i = 0; i < t->axes; i++) {
            t->weights_shape[2 + i] = t->strides[i] = t->dilations[i] = 1;
            t->pads[i] = t->pads[t->axes + i] = 0;
        }
    }
    t->with_bias = spry_random_below(&t->r, 2) != 0;
    t->with_residual = spry_random_below(&t->r, 2) != 0;
    t->with_clamp = spry_random_below(&t->r, 2) != 0;
    t->with_sigmoid = spry_random_below(&t->r, 4) == 0;
    t->x = floats(t, product(t->axes + 2, t->in_shape));
    t->x_last = floats(t, product(t->axes + 2, t->in_shape));
    t->weights = floats(t, product(t->axes + 2, t->weights_shape));
    t->bias = floats(t, t->weights_shape[0]);
    turn(t->axes + 2, t->in_shape, t->x, t->x_last);
}

static void free_trial(trial *t)
{
    free(t->x);
    free(t->x_last);
    free(t->weights);
    free(t->bias);
    free(t->residual_last);
    free(t->y);
    free(t->y_last);
}

static void test_against_reference(void **state)
{
    (void)state;
    for (uint64_t stream = 0; stream < 150; stream++) {
        trial t;

        make_trial(&t, stream);
        if (run_reference(&t)) {
            run_moved(&t);
        }
        free_trial(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_reference)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
