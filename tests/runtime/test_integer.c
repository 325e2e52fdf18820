/* What integer_graph makes of quantised graphs, and what it leaves alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "model/pass.h"
#include "runtime/integer.h"
#include "support/net.h"

static spry_error error;

static const int64_t none[] = {0};

/* x (quantised by `x_scale`) and a weight as dequantised values "x" and "w". */
static void start(net *n, int rank, const int64_t *x_shape, const int64_t *w_shape, int8_t w_zero)
{
    static const int8_t weights[64] = {1, -2, 3, -4, 5, -6, 7, -8};
    static const float half = 0.5f;
    static const float third = 0.25f;
    static const uint8_t zero = 3;

    net_init(n, 13);
    (void)net_input(n, "xq", SPRY_DTYPE_U8, rank, x_shape);
    (void)net_constant(n, "half", SPRY_DTYPE_F32, 0, none, &half);
    (void)net_constant(n, "third", SPRY_DTYPE_F32, 0, none, &third);
    (void)net_constant(n, "zero", SPRY_DTYPE_U8, 0, none, &zero);
    (void)net_constant(n, "wzero", SPRY_DTYPE_I8, 0, none, &w_zero);
    (void)net_constant(n, "wq", SPRY_DTYPE_I8, rank, w_shape, weights);
    (void)net_node(n, "DequantizeLinear", "xq half zero", "x");
    (void)net_node(n, "DequantizeLinear", "wq third wzero", "w");
}

static void rewrite(net *n)
{
    spry_session_options options = spry_session_options_default();

    assert_int_equal(infer_graph(n->g, &error), SPRY_OK);
    assert_int_equal(integer_graph(n->g, &options, &error), SPRY_OK);
}

static void test_product(void **state)
{
    static const int64_t x_shape[] = {2, 8};
    static const int64_t w_shape[] = {8, 4};
    static const int64_t four[] = {4};
    static const float bias[] = {1.0f, -1.0f, 0.5f, 0.0625f};
    const graph_node *made;
    const tensor *steps;
    net n;

    (void)state;
    start(&n, 2, x_shape, w_shape, 0);
    (void)net_constant(&n, "bias", SPRY_DTYPE_F32, 1, four, bias);
    (void)net_node(&n, "MatMul", "x w", "product");
    (void)net_node(&n, "Add", "product bias", "sum");
    (void)net_node(&n, "Relu", "sum", "positive");
    (void)net_node(&n, "QuantizeLinear", "positive half zero", "y");
    net_output(&n, "y");
    rewrite(&n);
    assert_int_equal(net_count(&n, "MatMul") + net_count(&n, "Add") + net_count(&n, "Relu") +
                         net_count(&n, "QuantizeLinear"),
                     0);
    made = net_find(&n, "QLinearMatMul");
    assert_string_equal(made->domain, INTEGER_DOMAIN);
    assert_int_equal(made->inputs[INTEGER_X], net_value(&n, "xq"));
    steps = graph_constant(n.g, made->inputs[INTEGER_BIAS]);
    assert_int_equal(((const int32_t *)steps->data)[0], 8); /* 1 / (0.5 x 0.25) */
    assert_int_equal(((const int32_t *)steps->data)[1], -8);
    assert_int_equal(((const int32_t *)steps->data)[3], 0); /* half a step: to even */
    assert_int_equal(made->outputs[0], net_value(&n, "y"));
    net_fini(&n);
}

static void test_convolution_without_result_scale(void **state)
{
    static const int64_t x_shape[] = {1, 2, 5, 5};
    static const int64_t w_shape[] = {3, 2, 3, 3};
    const graph_node *made;
    net n;

    (void)state;
    start(&n, 4, x_shape, w_shape, 1);
    (void)net_node(&n, "Conv", "x w", "y");
    net_output(&n, "y");
    rewrite(&n);
    made = net_find(&n, "QLinearConv");
    assert_int_equal(made->inputs[INTEGER_Y_SCALE], GRAPH_NONE);
    assert_int_equal(n.g->values[made->outputs[0]].type.dtype, SPRY_DTYPE_F32);
    net_fini(&n);
}

static void test_sum(void **state)
{
    static const int64_t shape[] = {2, 8};
    static const int64_t w_shape[] = {2, 8};
    net n;

    (void)state;
    start(&n, 2, shape, w_shape, 0);
    (void)net_input(&n, "vq", SPRY_DTYPE_I8, 2, shape);
    (void)net_node(&n, "DequantizeLinear", "vq third -", "v");
    (void)net_node(&n, "Add", "x v", "sum");
    (void)net_node(&n, "QuantizeLinear", "sum half zero", "y");
    net_output(&n, "y");
    rewrite(&n);
    assert_int_equal(net_count(&n, "Add"), 0);
    assert_int_equal(net_count(&n, "QLinearAdd"), 1);
    net_fini(&n);
}

static void test_moves_before_dequantising(void **state)
{
    static const int64_t x_shape[] = {8, 2};
    static const int64_t w_shape[] = {8, 4};
    net n;

    (void)state;
    start(&n, 2, x_shape, w_shape, 0);
    (void)net_node(&n, "Transpose", "x", "turned");
    (void)net_node(&n, "MatMul", "turned w", "product");
    (void)net_node(&n, "QuantizeLinear", "product half zero", "y");
    net_output(&n, "y");
    rewrite(&n);
    assert_int_equal(net_find(&n, "Transpose")->inputs[0], net_value(&n, "xq"));
    assert_int_equal(net_count(&n, "MatMul"), 0);
    assert_int_equal(net_count(&n, "QLinearMatMul"), 1);
    net_fini(&n);
}

/* A result that somebody else reads stays f32; two computed operands stay as they are. */
static void test_left_alone(void **state)
{
    static const int64_t x_shape[] = {8, 8};
    const graph_node *made;
    net n;

    (void)state;
    start(&n, 2, x_shape, x_shape, 0);
    (void)net_node(&n, "MatMul", "x x", "square");
    (void)net_node(&n, "MatMul", "x w", "product");
    (void)net_node(&n, "QuantizeLinear", "product half zero", "y");
    net_output(&n, "square");
    net_output(&n, "product");
    net_output(&n, "y");
    rewrite(&n);
    assert_int_equal(net_count(&n, "MatMul"), 1);
    assert_int_equal(net_count(&n, "QuantizeLinear"), 1);
    made = net_find(&n, "QLinearMatMul");
    assert_int_equal(made->outputs[0], net_value(&n, "product"));
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product),    cmocka_unit_test(test_convolution_without_result_scale),
        cmocka_unit_test(test_sum),        cmocka_unit_test(test_moves_before_dequantising),
        cmocka_unit_test(test_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
