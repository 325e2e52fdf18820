/* Attention operators of com.microsoft taken apart into standard ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/infer.h"
#include "model/pass.h"
#include "support/net.h"

enum { HEADS = 2, WIDTH = 8 };

static int32_t microsoft(net *n, const char *type, const char *from, const char *to)
{
    int32_t node = net_node(n, type, from, to);

    n->g->nodes[node].domain = "com.microsoft";
    n->g->nodes[node].opset = 1;
    assert_int_equal(graph_set_int(n->g, node, "num_heads", HEADS, NULL), SPRY_OK);
    return node;
}

static void start(net *n)
{
    static const float zeros[WIDTH * 3 * WIDTH];

    net_init(n, 18);
    net_input(n, "x", SPRY_DTYPE_F32, 3, (int64_t[]){-1, 5, WIDTH});
    net_input(n, "mask", SPRY_DTYPE_I32, 2, (int64_t[]){-1, 5});
    net_input(n, "lengths", SPRY_DTYPE_I32, 1, (int64_t[]){-1});
    net_input(n, "scores", SPRY_DTYPE_F32, 4, (int64_t[]){1, HEADS, 5, 5});
    net_constant(n, "weights", SPRY_DTYPE_F32, 2, (int64_t[]){WIDTH, 3 * WIDTH}, zeros);
    net_constant(n, "bias", SPRY_DTYPE_F32, 1, (int64_t[]){3 * WIDTH}, zeros);
}

/* Runs the pass; the standard Attention that it made, or NULL. */
static const graph_node *finish(net *n)
{
    pass_context c = {0};

    net_output(n, "y");
    assert_int_equal(infer_graph(n->g, NULL), SPRY_OK);
    assert_int_equal(pass_attention(n->g, &c, NULL), SPRY_OK);
    assert_int_equal(infer_graph(n->g, NULL), SPRY_OK);
    if (c.changes == 0) {
        return NULL;
    }
    assert_string_equal(net_find(n, "Attention")->domain, "");
    assert_non_null(net_find(n, "Attention")->op);
    assert_int_equal(graph_attribute_int(net_find(n, "Attention"), "q_num_heads", 0), HEADS);
    assert_int_equal(n->g->values[net_value(n, "y")].type.dims[2].size, WIDTH);
    return net_find(n, "Attention");
}

static void test_projected(void **state)
{
    net n;
    int32_t node;

    (void)state;
    start(&n);
    node = microsoft(&n, "Attention", "x weights bias mask", "y");
    assert_int_equal(graph_set_int(n.g, node, "unidirectional", 1, NULL), SPRY_OK);
    assert_int_equal(graph_attribute_int(finish(&n), "is_causal", 0), 1);
    assert_int_equal(net_count(&n, "MatMul"), 1);
    assert_int_equal(net_count(&n, "Split"), 1);
    assert_int_equal(net_count(&n, "Cast"), 1);
    net_fini(&n);
}

static void test_multi_head(void **state)
{
    net n;
    int32_t node;

    (void)state;
    start(&n);
    node = microsoft(&n, "MultiHeadAttention", "x x x bias mask scores", "y");
    assert_int_equal(graph_set_float(n.g, node, "scale", 0.5f, NULL), SPRY_OK);
    assert_float_equal(graph_attribute_float(finish(&n), "scale", 0.0f), 0.5f, 0.0f);
    assert_int_equal(net_count(&n, "Add"), 4);
    net_fini(&n);
}

/* Without a mask there is no fourth input. */
static void test_plain(void **state)
{
    net n;

    (void)state;
    start(&n);
    microsoft(&n, "MultiHeadAttention", "x x x", "y");
    assert_int_equal(finish(&n)->input_count, 3);
    assert_int_equal(net_count(&n, "Add"), 0);
    net_fini(&n);
}

static void test_left_alone(void **state)
{
    net n;

    (void)state;
    start(&n); /* keys by length */
    microsoft(&n, "MultiHeadAttention", "x x x - lengths", "y");
    assert_null(finish(&n));
    net_fini(&n);
    start(&n); /* a cache is wanted */
    microsoft(&n, "MultiHeadAttention", "x x x", "y key value");
    assert_null(finish(&n));
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_projected),
        cmocka_unit_test(test_multi_head),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
