/* BatchNormalization into weights, against the two formulas applied one after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/pass.h"
#include "support/net.h"

enum { CHANNELS = 4, MOST_WEIGHTS = 64 };

static const float scale[] = {1.5f, -2.0f, 0.25f, 3.0f};
static const float shift[] = {0.5f, 1.0f, -1.0f, 0.0f};
static const float mean[] = {0.1f, -0.2f, 0.3f, 2.0f};
static const float variance[] = {1.0f, 0.5f, 4.0f, 0.01f};
static const float bias[] = {1.0f, 2.0f, 3.0f, 4.0f};
static const int64_t channels[] = {CHANNELS};

typedef struct layer {
    const char *type;
    int rank;
    int64_t shape[4];
    int64_t group;  /* 0: the attribute is absent */
    int transposed; /* Gemm's transB */
} layer;

/* Output channel of weight `i`, said once more in other words than the pass. */
static int64_t channel_of(const layer *l, int64_t i)
{
    int64_t inner = l->rank == 4 ? l->shape[2] * l->shape[3] : 1;
    int64_t second = i / inner % l->shape[1];
    int64_t first = i / inner / l->shape[1];

    if (strcmp(l->type, "Conv") == 0 || l->transposed) {
        return first;
    }
    if (strcmp(l->type, "Gemm") == 0) {
        return second;
    }
    return first / (l->shape[0] / l->group) * l->shape[1] + second;
}

static void build(net *n, const layer *l, const float *weights, bool has_bias)
{
    const int64_t input[] = {1, 4, 3, 3};
    int32_t node;

    net_init(n, 13);
    net_input(n, "x", SPRY_DTYPE_F32, l->rank, input);
    net_constant(n, "w", SPRY_DTYPE_F32, l->rank, l->shape, weights);
    net_constant(n, "b", SPRY_DTYPE_F32, 1, channels, bias);
    net_constant(n, "scale", SPRY_DTYPE_F32, 1, channels, scale);
    net_constant(n, "shift", SPRY_DTYPE_F32, 1, channels, shift);
    net_constant(n, "mean", SPRY_DTYPE_F32, 1, channels, mean);
    net_constant(n, "variance", SPRY_DTYPE_F32, 1, channels, variance);
    node = net_node(n, l->type, has_bias ? "x w b" : "x w", "c");
    if (l->group > 0) {
        assert_int_equal(graph_set_int(n->g, node, "group", l->group, NULL), SPRY_OK);
    }
    if (strcmp(l->type, "Gemm") == 0) {
        assert_int_equal(graph_set_int(n->g, node, "transB", l->transposed, NULL), SPRY_OK);
        assert_int_equal(graph_set_float(n->g, node, "beta", 0.5f, NULL), SPRY_OK);
    }
    node = net_node(n, "BatchNormalization", "c scale shift mean variance", "y");
    assert_int_equal(graph_set_float(n->g, node, "epsilon", 1e-3f, NULL), SPRY_OK);
    net_output(n, "y");
}

static void check(const layer *l, bool has_bias)
{
    float weights[MOST_WEIGHTS];
    pass_context c = {.m = NULL};
    const graph_node *node;
    const tensor *w;
    const tensor *b;
    float beta = strcmp(l->type, "Gemm") == 0 ? 0.5f : 1.0f;
    net n;

    for (int i = 0; i < MOST_WEIGHTS; i++) {
        weights[i] = (float)(i % 7) - 2.5f;
    }
    build(&n, l, weights, has_bias);
    assert_int_equal(pass_batchnorm(n.g, &c, NULL), SPRY_OK);
    assert_int_equal(c.changes, 1);
    assert_int_equal(n.g->node_count, 1);
    node = net_find(&n, l->type);
    assert_string_equal(n.g->values[node->outputs[0]].name, "y");
    w = graph_constant(n.g, node->inputs[1]);
    b = graph_constant(n.g, node->inputs[2]);
    for (int64_t i = 0; i < tensor_count(w); i++) {
        int64_t k = channel_of(l, i);
        double factor = (double)scale[k] / sqrt((double)variance[k] + (double)1e-3f);

        assert_float_equal(((const float *)w->data)[i], (float)((double)weights[i] * factor),
                           1e-5f);
    }
    for (int k = 0; k < CHANNELS; k++) {
        double factor = (double)scale[k] / sqrt((double)variance[k] + (double)1e-3f);
        double before = has_bias ? (double)beta * (double)bias[k] : 0;

        assert_float_equal(((const float *)b->data)[k],
                           (float)((before - (double)mean[k]) * factor + (double)shift[k]), 1e-4f);
    }
    net_fini(&n);
}

static void folds_into_weights(void **state)
{
    static const layer layers[] = {
        {"Conv", 4, {4, 4, 1, 3}, 0, 0},          {"Conv", 4, {4, 2, 2, 2}, 2, 0},
        {"Conv", 4, {4, 1, 3, 3}, 4, 0},          {"ConvTranspose", 4, {4, 4, 2, 1}, 1, 0},
        {"ConvTranspose", 4, {4, 2, 2, 2}, 2, 0}, {"ConvTranspose", 4, {4, 1, 1, 3}, 4, 0},
        {"Gemm", 2, {5, 4, 0, 0}, 0, 0},          {"Gemm", 2, {4, 5, 0, 0}, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        check(&layers[i], false);
        check(&layers[i], true);
    }
}

static void leaves_shared_results(void **state)
{
    static const layer conv = {"Conv", 4, {4, 4, 1, 1}, 0, 0};
    static const float weights[16] = {1};
    pass_context c = {.m = NULL};
    net n;

    (void)state;
    build(&n, &conv, weights, true);
    net_node(&n, "Keep", "c", "other");
    net_output(&n, "other");
    assert_int_equal(pass_batchnorm(n.g, &c, NULL), SPRY_OK);
    assert_int_equal(c.changes, 0);
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_into_weights),
        cmocka_unit_test(leaves_shared_results),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
