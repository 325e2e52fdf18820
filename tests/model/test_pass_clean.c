/* Dead code, identities, quantization pairs: the graph before and after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/pass.h"
#include "support/net.h"

static const int64_t shape[] = {2, 3};
static const int64_t one[] = {1};
static const int64_t two[] = {2};
static const int64_t four[] = {4};

static void run(pass_function pass, net *n, int64_t changes)
{
    pass_context c = {.m = NULL};

    assert_int_equal(pass(n->g, &c, NULL), SPRY_OK);
    assert_int_equal(c.changes, changes);
}

static void drops_dead_code(void **state)
{
    const float numbers[] = {1, 2};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, shape);
    net_constant(&n, "unused", SPRY_DTYPE_F32, 1, two, numbers);
    net_constant(&n, "w", SPRY_DTYPE_F32, 1, two, numbers);
    net_node(&n, "A", "x w", "y");
    net_node(&n, "B", "x unused", "dead");
    net_node(&n, "C", "dead", "deader");
    net_output(&n, "y");
    run(pass_dead, &n, 3);
    assert_int_equal(n.g->node_count, 1);
    assert_null(n.g->values[net_value(&n, "unused")].constant);
    assert_non_null(n.g->values[net_value(&n, "w")].constant);
    net_fini(&n);
}

/* x -> first -> second -> y; every node but the last two ("Keep") should go. */
static void removes_identities(void **state)
{
    const int64_t zeros[] = {0, 0, 0, 0};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, shape);
    net_constant(&n, "pads", SPRY_DTYPE_I64, 1, four, zeros);
    net_node(&n, "Identity", "x", "a");
    net_node(&n, "Dropout", "a", "b");
    net_node(&n, "Cast", "b", "c");
    assert_int_equal(graph_set_int(n.g, 2, "to", SPRY_DTYPE_F32, NULL), SPRY_OK);
    net_node(&n, "Pad", "c pads", "d");
    net_node(&n, "Concat", "d", "e");
    net_node(&n, "Keep", "e", "f");
    net_node(&n, "Identity", "f", "y");
    net_output(&n, "y");
    run(pass_identity, &n, 6);
    assert_int_equal(n.g->node_count, 1);
    assert_int_equal(n.g->nodes[0].inputs[0], net_value(&n, "x"));
    assert_string_equal(n.g->values[n.g->outputs[0]].name, "y");
    assert_int_equal(n.g->nodes[0].outputs[0], n.g->outputs[0]);
    net_fini(&n);
}

static void keeps_what_changes_something(void **state)
{
    const int64_t ones[] = {0, 1, 0, 0};
    const uint8_t truth[] = {1};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, shape);
    net_constant(&n, "pads", SPRY_DTYPE_I64, 1, four, ones);
    net_constant(&n, "training", SPRY_DTYPE_BOOL, 1, one, truth);
    net_node(&n, "Dropout", "x - training", "a");
    net_node(&n, "Cast", "a", "b");
    assert_int_equal(graph_set_int(n.g, 1, "to", SPRY_DTYPE_F64, NULL), SPRY_OK);
    net_node(&n, "Pad", "b pads", "c");
    net_node(&n, "Concat", "c c", "d");
    net_node(&n, "Identity", "x", "straight"); /* an input cannot be an output */
    net_output(&n, "d");
    net_output(&n, "straight");
    run(pass_identity, &n, 0);
    assert_int_equal(n.g->node_count, 5);
    net_fini(&n);
}

static void joins_transposes(void **state)
{
    static const int64_t first[] = {2, 0, 1};
    static const int64_t back[] = {1, 2, 0};
    static const int64_t cube[] = {2, 3, 4};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 3, cube);
    net_node(&n, "Transpose", "x", "a");
    net_node(&n, "Transpose", "a", "b");
    net_node(&n, "Transpose", "a", "c");
    assert_int_equal(graph_set_ints(n.g, 0, "perm", 3, first, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n.g, 1, "perm", 3, back, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n.g, 2, "perm", 3, first, NULL), SPRY_OK);
    net_node(&n, "Keep", "b c", "y");
    net_output(&n, "y");
    run(pass_identity, &n, 3);
    run(pass_dead, &n, 1);
    assert_int_equal(net_count(&n, "Transpose"), 1);
    {
        int64_t count;
        const int64_t *perm = graph_attribute_ints(net_find(&n, "Transpose"), "perm", &count);

        /* element i of the joined permutation is first[first[i]] */
        assert_int_equal(perm[0], 1);
        assert_int_equal(perm[1], 2);
        assert_int_equal(perm[2], 0);
    }
    assert_int_equal(net_find(&n, "Keep")->inputs[0], net_value(&n, "x"));
    net_fini(&n);
}

static void joins_reshapes(void **state)
{
    const int64_t flat[] = {-1};
    const int64_t copying[] = {0, -1};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, shape);
    net_constant(&n, "flat", SPRY_DTYPE_I64, 1, one, flat);
    net_constant(&n, "copying", SPRY_DTYPE_I64, 1, two, copying);
    net_node(&n, "Reshape", "x copying", "a");
    net_node(&n, "Reshape", "a flat", "b");
    net_node(&n, "Reshape", "b copying", "c"); /* copies a dimension of "b": must read "b" */
    net_output(&n, "c");
    run(pass_identity, &n, 1);
    assert_int_equal(n.g->nodes[1].inputs[0], net_value(&n, "x"));
    assert_int_equal(n.g->nodes[2].inputs[0], net_value(&n, "b"));
    net_fini(&n);
}

/* DequantizeLinear -> QuantizeLinear with the given parameters. */
static void build_pair(net *n, float scale, float other_scale)
{
    const uint8_t zero[] = {3};

    net_init(n, 13);
    net_input(n, "q", SPRY_DTYPE_U8, 2, shape);
    net_constant(n, "s", SPRY_DTYPE_F32, 0, NULL, &scale);
    net_constant(n, "t", SPRY_DTYPE_F32, 0, NULL, &other_scale);
    net_constant(n, "z", SPRY_DTYPE_U8, 0, NULL, zero);
    net_node(n, "DequantizeLinear", "q s z", "f");
    net_node(n, "QuantizeLinear", "f t z", "r");
    net_node(n, "Keep", "r", "y");
    net_output(n, "y");
}

static void cancels_exact_pairs(void **state)
{
    static const float scales[][2] = {{0.1f, 0.1f}, {0.1f, 0.2f}, {1e-44f, 1e-44f}, {0, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        net n;

        build_pair(&n, scales[i][0], scales[i][1]);
        run(pass_quantize, &n, i == 0);
        assert_int_equal(net_count(&n, "QuantizeLinear"), i != 0);
        assert_int_equal(net_find(&n, "Keep")->inputs[0], net_value(&n, i == 0 ? "q" : "r"));
        net_fini(&n);
    }
}

/* The other order rounds: it must stay. */
static void keeps_rounding_pairs(void **state)
{
    const float scale = 0.1f;
    const uint8_t zero[] = {3};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, shape);
    net_constant(&n, "s", SPRY_DTYPE_F32, 0, NULL, &scale);
    net_constant(&n, "z", SPRY_DTYPE_U8, 0, NULL, zero);
    net_node(&n, "QuantizeLinear", "x s z", "q");
    net_node(&n, "DequantizeLinear", "q s z", "y");
    net_output(&n, "y");
    run(pass_quantize, &n, 0);
    assert_int_equal(n.g->node_count, 2);
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_dead_code),
        cmocka_unit_test(removes_identities),
        cmocka_unit_test(keeps_what_changes_something),
        cmocka_unit_test(joins_transposes),
        cmocka_unit_test(joins_reshapes),
        cmocka_unit_test(cancels_exact_pairs),
        cmocka_unit_test(keeps_rounding_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
