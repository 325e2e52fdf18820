/* What integer_graph makes of quantised graphs, and what it leaves alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "model/pass.h"
#include "runtime/integer/integer.h"
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

/* Zeros around numbers are zero points around bytes; other fillers stay f32. */
static void test_pads_before_dequantising(void **state)
{
    static const int64_t x_shape[] = {4, 2};
    static const int64_t padded_shape[] = {4, 8};
    static const int64_t pads_shape[] = {4};
    static const int64_t pads[] = {0, 3, 0, 3};
    static const float fillers[] = {0.0f, 1.0f};
    static const int64_t w_shape[] = {8, 4};

    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *inputs = i < 2 ? "x pads filler" : "x pads";
        bool is_moved = i != 1;
        const graph_node *pad;
        net n;

        start(&n, 2, x_shape, w_shape, 0);
        (void)net_constant(&n, "pads", SPRY_DTYPE_I64, 1, pads_shape, pads);
        (void)net_constant(&n, "filler", SPRY_DTYPE_F32, 0, none, &fillers[i == 1]);
        (void)net_node(&n, "Pad", inputs, "padded");
        (void)net_node(&n, "MatMul", "padded w", "product");
        (void)net_node(&n, "QuantizeLinear", "product half zero", "y");
        net_output(&n, "y");
        rewrite(&n);
        pad = net_find(&n, "Pad");
        assert_int_equal(pad->inputs[0] == net_value(&n, "xq"), is_moved);
        if (is_moved) {
            assert_int_equal(pad->inputs[2], net_value(&n, "zero"));
            assert_int_equal(n.g->values[pad->outputs[0]].type.dtype, SPRY_DTYPE_U8);
            assert_int_equal(n.g->values[pad->outputs[0]].type.dims[1].size, padded_shape[1]);
        }
        assert_int_equal(net_count(&n, "QLinearMatMul"), is_moved);
        net_fini(&n);
    }
}

/* A result that somebody else reads stays f32. */
static void test_left_alone(void **state)
{
    static const int64_t x_shape[] = {8, 8};
    const graph_node *made;
    net n;

    (void)state;
    start(&n, 2, x_shape, x_shape, 0);
    (void)net_node(&n, "MatMul", "x w", "product");
    (void)net_node(&n, "QuantizeLinear", "product half zero", "y");
    net_output(&n, "product");
    net_output(&n, "y");
    rewrite(&n);
    assert_int_equal(net_count(&n, "MatMul"), 0);
    assert_int_equal(net_count(&n, "QuantizeLinear"), 1);
    made = net_find(&n, "QLinearMatMul");
    assert_int_equal(made->outputs[0], net_value(&n, "product"));
    net_fini(&n);
}

/* Both operands of attention's products are computed. */
static void test_product_of_activations(void **state)
{
    static const int64_t x_shape[] = {2, 8, 4};
    static const int64_t v_shape[] = {2, 4, 3};
    const graph_node *made;
    net n;

    (void)state;
    start(&n, 3, x_shape, x_shape, 0);
    (void)net_input(&n, "vq", SPRY_DTYPE_U8, 3, v_shape);
    (void)net_node(&n, "DequantizeLinear", "vq third zero", "v");
    (void)net_node(&n, "MatMul", "x v", "product");
    (void)net_node(&n, "QuantizeLinear", "product half zero", "y");
    net_output(&n, "y");
    rewrite(&n);
    made = net_find(&n, "QLinearMatMul");
    assert_int_equal(made->inputs[INTEGER_W], net_value(&n, "vq"));
    assert_int_equal(made->outputs[0], net_value(&n, "y"));
    net_fini(&n);
}

static void test_functions_become_tables(void **state)
{
    static const int64_t shape[] = {2, 8};
    net n;

    (void)state;
    start(&n, 2, shape, shape, 0);
    (void)net_node(&n, "Mul", "half x", "scaled");
    (void)net_node(&n, "Tanh", "scaled", "bent");
    (void)net_node(&n, "QuantizeLinear", "bent third wzero", "y");
    (void)net_node(&n, "QuantizeLinear", "x third zero", "again");
    net_output(&n, "y");
    net_output(&n, "again");
    rewrite(&n);
    assert_int_equal(net_count(&n, INTEGER_TABLE), 2);
    assert_int_equal(n.g->values[net_value(&n, "y")].type.dtype, SPRY_DTYPE_I8);
    net_fini(&n);
}

static void test_rows_are_normalised_as_bytes(void **state)
{
    static const int64_t shape[] = {4, 8};
    static const int64_t eight[] = {8};
    static const float gamma[8] = {1.0f};
    net n;

    (void)state;
    start(&n, 2, shape, shape, 0);
    n.opset = 17;
    (void)net_constant(&n, "gamma", SPRY_DTYPE_F32, 1, eight, gamma);
    (void)net_node(&n, "LayerNormalization", "x gamma", "normal");
    (void)net_node(&n, "QuantizeLinear", "normal half zero", "y");
    (void)net_node(&n, "Mul", "x third", "scaled");
    (void)net_node(&n, "Softmax", "scaled", "soft");
    (void)net_node(&n, "QuantizeLinear", "soft third zero", "z");
    net_output(&n, "y");
    net_output(&n, "z");
    rewrite(&n);
    assert_int_equal(net_count(&n, INTEGER_LAYER_NORM), 1);
    assert_int_equal(net_count(&n, INTEGER_SOFTMAX), 1);
    assert_true(graph_attribute_float(net_find(&n, INTEGER_SOFTMAX), INTEGER_FACTOR, 0.0f) ==
                0.25f);
    net_fini(&n);
}

/* Bytes are put together; what was quantised otherwise is looked up first. */
static void test_concat_of_bytes(void **state)
{
    static const int64_t shape[] = {2, 8};
    net n;

    (void)state;
    start(&n, 2, shape, shape, 0);
    (void)net_input(&n, "vq", SPRY_DTYPE_U8, 2, shape);
    (void)net_node(&n, "DequantizeLinear", "vq third zero", "v");
    assert_int_equal(graph_set_int(n.g, net_node(&n, "Concat", "x v", "both"), "axis", 1, &error),
                     SPRY_OK);
    (void)net_node(&n, "QuantizeLinear", "both third zero", "y");
    net_output(&n, "y");
    rewrite(&n);
    assert_int_equal(net_find(&n, "Concat")->outputs[0], net_value(&n, "y"));
    assert_int_equal(net_count(&n, INTEGER_TABLE), 1);
    net_fini(&n);
}

/* As dynamic quantisation writes a product: scales are computed, the bias stays f32. */
static void test_dynamic_quantisation(void **state)
{
    static const int64_t x_shape[] = {4, 8};
    static const int64_t w_shape[] = {8, 4};
    static const int64_t four[] = {4};
    static const float bias[] = {1.0f, -1.0f, 0.5f, 0.0625f};
    const graph_node *made;
    net n;

    (void)state;
    start(&n, 2, x_shape, w_shape, 0);
    (void)net_input(&n, "v", SPRY_DTYPE_F32, 2, x_shape);
    (void)net_constant(&n, "bias", SPRY_DTYPE_F32, 1, four, bias);
    (void)net_node(&n, "DynamicQuantizeLinear", "v", "vq vs vz");
    (void)net_node(&n, "MatMulInteger", "vq wq vz wzero", "sums");
    assert_int_equal(graph_set_int(n.g, net_node(&n, "Cast", "sums", "floats"), "to", 1, &error),
                     SPRY_OK);
    (void)net_node(&n, "Mul", "vs third", "scale");
    (void)net_node(&n, "Mul", "floats scale", "product");
    (void)net_node(&n, "Add", "product bias", "y");
    net_output(&n, "y");
    rewrite(&n);
    made = net_find(&n, "QLinearMatMul");
    assert_int_equal(made->inputs[INTEGER_X + 1], net_value(&n, "vs"));
    assert_int_equal(made->inputs[INTEGER_X + 2], net_value(&n, "vz"));
    assert_int_equal(made->inputs[INTEGER_W + 1], net_value(&n, "third"));
    assert_int_equal(made->inputs[INTEGER_BIAS], net_value(&n, "bias"));
    assert_int_equal(made->inputs[INTEGER_Y_SCALE], GRAPH_NONE);
    assert_int_equal(made->outputs[0], net_value(&n, "y"));
    assert_int_equal(net_count(&n, "Cast") + net_count(&n, "Add"), 0);
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_convolution_without_result_scale),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_moves_before_dequantising),
        cmocka_unit_test(test_pads_before_dequantising),
        cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_product_of_activations),
        cmocka_unit_test(test_functions_become_tables),
        cmocka_unit_test(test_rows_are_normalised_as_bytes),
        cmocka_unit_test(test_concat_of_bytes),
        cmocka_unit_test(test_dynamic_quantisation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
