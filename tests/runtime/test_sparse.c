/* Layers with zeros: who executes them, that results stay those of the reference, and what they say
 * of themselves. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "runtime/execute.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"
#include "runtime/plan.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/sparse_layer.h"
#include "spry/random.h"
#include "support/net.h"

enum { OPSET = 13, FEW = 3 };

static spry_error error;

typedef struct layer {
    const char *type; /* Conv, MatMul, Gemm */
    int rank;
    int64_t x[4], w[4];
    double inputs, weights; /* shares that are not zero */
    int64_t stride;
} layer;

static float *numbers(uint64_t stream, int rank, const int64_t *shape, double share)
{
    spry_random r = spry_random_stream(61, stream);
    int64_t count = 1;
    float *x;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    x = malloc((size_t)count * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        float number = 2.0f * spry_random_f32(&r) - 1.0f;

        x[i] = spry_random_f64(&r) < share ? number : 0.0f;
    }
    return x;
}

static void add_conv(net *n, const layer *l, const char *inputs, const char *output)
{
    const int64_t pads[] = {l->w[2] / 2, l->w[3] / 2, l->w[2] / 2, l->w[3] / 2};
    const int64_t strides[] = {l->stride, l->stride};
    int32_t id = net_node(n, "Conv", inputs, output);

    assert_int_equal(graph_set_ints(n->g, id, "pads", 4, pads, &error), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, id, "strides", 2, strides, &error), SPRY_OK);
}

static void build(net *n, const layer *l)
{
    int64_t filters = l->w[strcmp(l->type, "Conv") == 0 || strcmp(l->type, "Gemm") == 0 ? 0 : 1];
    float *w = numbers(1, l->rank, l->w, l->weights);
    float *bias = numbers(2, 1, &filters, 1.0);

    for (int64_t i = 0; i < filters && l->inputs < 1.0; i++) {
        bias[i] -= FEW; /* few numbers pass the Relu */
    }
    net_init(n, OPSET);
    (void)net_input(n, "x", SPRY_DTYPE_F32, l->rank, l->x);
    (void)net_constant(n, "w", SPRY_DTYPE_F32, l->rank, l->w, w);
    (void)net_constant(n, "b", SPRY_DTYPE_F32, 1, &filters, bias);
    if (strcmp(l->type, "Conv") == 0) { /* two, so that turning images pays */
        add_conv(n, l, "x w b", "first");
        (void)net_node(n, "Relu", "first", "between");
        add_conv(n, l, "between w b", "sums");
    } else if (strcmp(l->type, "Gemm") == 0) {
        int32_t id = net_node(n, "Gemm", "x w b", "sums");

        assert_int_equal(graph_set_int(n->g, id, "transB", 1, &error), SPRY_OK);
    } else {
        (void)net_node(n, "MatMul", "x w", "products");
        (void)net_node(n, "Add", "products b", "sums");
    }
    (void)net_node(n, "Relu", "sums", "y");
    net_output(n, "y");
    assert_int_equal(infer_graph(n->g, &error), SPRY_OK);
    free(w);
    free(bias);
}

/* What the last step with weights is, after a run. */
typedef struct outcome {
    const provider *provider;
    provider_sparsity told;
    bool tells;
    value y;
} outcome;

static void run(const graph *g, const layer *l, bool by_reference, int workers, float *x,
                outcome *o)
{
    spry_session_options options = spry_session_options_default();
    value in;
    const value *inputs[] = {&in};
    value *outputs[] = {&o->y};
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};

    value_init(&in, NULL);
    value_init(&o->y, NULL);
    assert_int_equal(tensor_init(&in.tensor, SPRY_DTYPE_F32, l->rank, l->x, x, NULL), SPRY_OK);
    in.kind = SPRY_VALUE_TENSOR;
    in.dtype = SPRY_DTYPE_F32;
    assert_int_equal(threads_create(NULL, workers, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    assert_int_equal(plan_create(g, &options, team, by_reference, &p, &error), SPRY_OK);
    assert_int_equal(execute_plan(&e, p, NULL, inputs, 1, outputs, 1), SPRY_OK);
    o->provider = NULL;
    o->tells = false;
    for (int32_t i = 0; i < p->step_count; i++) {
        if (strcmp(p->steps[i].node->type, l->type) == 0) {
            o->provider = p->steps[i].provider;
            o->tells = p->steps[i].provided.sparsity != NULL;
            o->told = o->tells ? *p->steps[i].provided.sparsity : o->told;
        }
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
        assert_true(fabs((double)a[i] - (double)b[i]) <= 1e-5 * most);
    }
}

/* Runs with the reference, one worker and three; returns what the last one was. */
static outcome check(const layer *l)
{
    float *x = numbers(3, l->rank, l->x, l->inputs);
    spry_session_options options = spry_session_options_default();
    outcome reference;
    outcome single;
    outcome team;
    net n;

    build(&n, l);
    run(n.g, l, true, 1, x, &reference);
    assert_int_equal(fuse_graph(n.g, &options, &error), SPRY_OK);
    assert_int_equal(layout_graph(n.g, &options, &error), SPRY_OK);
    assert_int_equal(fuse_activations(n.g, &options, &error), SPRY_OK);
    run(n.g, l, false, 1, x, &single);
    run(n.g, l, false, 3, x, &team);
    compare(&single.y.tensor, &reference.y.tensor);
    assert_true(tensor_same_shape(&team.y.tensor, &single.y.tensor));
    assert_memory_equal(team.y.tensor.data, single.y.tensor.data, single.y.tensor.bytes);
    value_fini(&reference.y);
    value_fini(&single.y);
    value_fini(&team.y);
    net_fini(&n);
    free(x);
    return team;
}

static void assert_way(const outcome *o, const char *way)
{
    assert_non_null(o->provider);
    if (!sparse_layer_possible()) {
        return;
    }
    assert_string_equal(o->provider->name, provider_sparse.name);
    assert_true(o->tells);
    assert_string_equal(o->told.way, way);
}

static void test_products(void **state)
{
    layer l = {"MatMul", 2, {130, 300}, {300, 270}, 1.0, 0.1, 1};
    outcome o = check(&l);

    (void)state;
    assert_way(&o, "sparse weights");
    assert_true(!o.tells || (fabs(o.told.weights - 0.1) < 0.02 && o.told.gain > 1.5));
    l = (layer){"Gemm", 2, {130, 300}, {270, 300}, 1.0, 0.05, 1};
    o = check(&l);
    assert_way(&o, "sparse weights");
    l = (layer){"Gemm", 2, {130, 300}, {270, 300}, 0.1, 1.0, 1};
    o = check(&l);
    assert_way(&o, "sparse activations");
    assert_true(!o.tells || (fabs(o.told.activations - 0.1) < 0.03 && o.told.gain > 1.2));
    l.inputs = 1.0;
    o = check(&l);
    assert_way(&o, "dense");
    assert_true(!o.tells || o.told.activations > 0.99);
}

/* Everything that is zero, and everything that is not. */
static void test_extremes(void **state)
{
    layer l = {"MatMul", 2, {130, 300}, {300, 270}, 1.0, 0.0, 1};
    outcome o = check(&l);

    (void)state;
    assert_way(&o, "sparse weights");
    l.inputs = 0.0;
    (void)check(&l);
    l.weights = 1.0;
    o = check(&l);
    assert_way(&o, "sparse activations");
    l = (layer){"MatMul", 2, {3, 300}, {300, 270}, 1.0, 1.0, 1}; /* nothing to gain */
    o = check(&l);
    assert_true(o.provider == &provider_dense);
}

/* How convolutions of more than a pixel skip weights: by permuted lanes, where there is a
 * kernel. */
static const char *way_of_weights(void)
{
    return sparse_lanes_select() != sparse_lanes_variants[0].table ? "sparse lanes"
                                                                   : "sparse weights";
}

static void test_convolutions(void **state)
{
    layer l = {"Conv", 4, {2, 64, 40, 40}, {64, 64, 3, 3}, 1.0, 0.05, 2};
    outcome o = check(&l);

    (void)state;
    assert_way(&o, way_of_weights());
    l.stride = 1;
    (void)check(&l);
    l.weights = 1.0;
    o = check(&l);
    assert_true(o.provider != &provider_sparse && !o.tells);
    l = (layer){"Conv", 4, {2, 160, 20, 20}, {160, 160, 1, 1}, 0.2, 1.0, 1};
    o = check(&l);
    assert_way(&o, "sparse activations");
    l = (layer){"Conv", 4, {2, 160, 20, 20}, {160, 160, 1, 1}, 1.0, 0.1, 1};
    o = check(&l);
    assert_way(&o, "sparse weights");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products),
                                       cmocka_unit_test(test_extremes),
                                       cmocka_unit_test(test_convolutions)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
