/* LayerNormalization from its parts, in the forms that exporters wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/infer.h"
#include "model/pass.h"
#include "support/net.h"

enum { SIZE = 4 };

static void constant(net *n, const char *name, float number)
{
    net_constant(n, name, SPRY_DTYPE_F32, 0, NULL, &number);
}

static int32_t mean(net *n, int64_t axis, const char *from, const char *to)
{
    int32_t node = net_node(n, "ReduceMean", from, to);

    assert_int_equal(graph_set_ints(n->g, node, "axes", 1, &axis, NULL), SPRY_OK);
    return node;
}

static void start(net *n)
{
    static const int64_t shape[] = {2, -1, SIZE};
    static const int64_t size[] = {SIZE};
    static const float numbers[SIZE] = {1.0f, 2.0f, 3.0f, 4.0f};

    net_init(n, 11);
    net_input(n, "x", SPRY_DTYPE_F32, 3, shape);
    net_constant(n, "scale", SPRY_DTYPE_F32, 1, size, numbers);
    net_constant(n, "bias", SPRY_DTYPE_F32, 1, size, numbers);
    constant(n, "epsilon", 1e-3f);
    constant(n, "two", 2.0f);
}

/* The normalised x, before scale and bias, from `distance`, the name of x less its mean. */
static void normalise(net *n, int64_t axis, bool by_product, bool by_reciprocal)
{
    mean(n, axis, "x", "mean");
    net_node(n, "Sub", "x mean", "distance");
    if (by_product) {
        net_node(n, "Mul", "distance distance", "square");
    } else {
        net_node(n, "Pow", "distance two", "square");
    }
    mean(n, axis, "square", "variance");
    net_node(n, "Add", "variance epsilon", "sum");
    net_node(n, "Sqrt", "sum", "deviation");
    if (by_reciprocal) {
        net_node(n, "Reciprocal", "deviation", "inverse");
        net_node(n, "Mul", "inverse distance", "normal");
    } else {
        net_node(n, "Div", "distance deviation", "normal");
    }
}

static void run(net *n, const char *output)
{
    pass_context c = {.m = NULL};

    net_output(n, output);
    assert_int_equal(infer_graph(n->g, NULL), SPRY_OK);
    assert_int_equal(pass_layer_norm(n->g, &c, NULL), SPRY_OK);
    assert_int_equal(pass_dead(n->g, &c, NULL), SPRY_OK);
}

static void check(const net *n, int32_t inputs)
{
    const graph_node *node = net_find(n, "LayerNormalization");

    assert_int_equal(n->g->node_count, 1);
    assert_int_equal(node->opset, 17);
    assert_non_null(node->op);
    assert_int_equal(node->input_count, inputs);
    assert_int_equal(node->inputs[0], net_value(n, "x"));
    assert_int_equal(node->inputs[1], net_value(n, "scale"));
    assert_float_equal(graph_attribute_float(node, "epsilon", 0.0f), 1e-3f, 0.0f);
}

static void gathers_every_form(void **state)
{
    (void)state;
    for (int form = 0; form < 16; form++) {
        net n;

        start(&n);
        normalise(&n, (form & 1) != 0 ? -1 : 2, (form & 2) != 0, (form & 4) != 0);
        net_node(&n, "Mul", (form & 8) != 0 ? "scale normal" : "normal scale", "scaled");
        net_node(&n, "Add", (form & 8) != 0 ? "bias scaled" : "scaled bias", "y");
        run(&n, "y");
        check(&n, 3);
        net_fini(&n);
    }
}

static void needs_no_bias(void **state)
{
    net n;

    (void)state;
    start(&n);
    normalise(&n, -1, false, false);
    net_node(&n, "Mul", "normal scale", "y");
    run(&n, "y");
    check(&n, 2);
    net_fini(&n);
}

static void leaves_other_axes(void **state)
{
    net n;

    (void)state;
    start(&n);
    normalise(&n, 0, false, false);
    net_node(&n, "Mul", "normal scale", "y");
    run(&n, "y");
    assert_int_equal(net_count(&n, "LayerNormalization"), 0);
    net_fini(&n);
}

static void leaves_another_mean(void **state)
{
    net n;

    (void)state;
    start(&n);
    normalise(&n, -1, false, false);
    net_node(&n, "Sub", "x bias", "other");
    net_node(&n, "Div", "other deviation", "quotient");
    net_node(&n, "Mul", "quotient scale", "y");
    run(&n, "y");
    assert_int_equal(net_count(&n, "LayerNormalization"), 0);
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gathers_every_form),
        cmocka_unit_test(needs_no_bias),
        cmocka_unit_test(leaves_other_axes),
        cmocka_unit_test(leaves_another_mean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
