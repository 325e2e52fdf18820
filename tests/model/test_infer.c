/* Types and shapes found over a whole graph, symbols included; contradictions are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/infer.h"
#include "model/pass.h"
#include "support/net.h"

static const int64_t batch[] = {-1, 3};
static const int64_t one[] = {1};

static void assert_type(const net *n, const char *name, const char *type)
{
    char text[128];

    assert_string_equal(
        graph_type_describe(&n->g->values[net_value(n, name)].type, text, sizeof text), type);
}

static void symbols_pass_through(void **state)
{
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, batch);
    net_node(&n, "Relu", "x", "a");
    net_node(&n, "Add", "a x", "b");
    net_node(&n, "Unknown", "b", "c");
    net_node(&n, "Relu", "c", "d");
    assert_int_equal(infer_graph(n.g, NULL), SPRY_OK);
    assert_type(&n, "b", "f32[N,3]");
    assert_int_equal(n.g->values[net_value(&n, "d")].type.kind, GRAPH_TYPE_UNKNOWN);
    assert_int_equal(infer_bind_symbol(n.g, "N", 8, NULL), SPRY_OK);
    assert_int_equal(infer_bind_symbol(n.g, "N", 8, NULL), SPRY_USAGE);
    assert_int_equal(infer_graph(n.g, NULL), SPRY_OK);
    assert_type(&n, "b", "f32[8,3]");
    net_fini(&n);
}

static void inputs_are_bound_once(void **state)
{
    const graph_type good = graph_type_tensor(SPRY_DTYPE_F32, 2, (const int64_t[]){4, 3});
    const graph_type other_size = graph_type_tensor(SPRY_DTYPE_F32, 2, (const int64_t[]){4, 2});
    const graph_type other_rank = graph_type_tensor(SPRY_DTYPE_F32, 1, (const int64_t[]){4});
    const graph_type other_dtype = graph_type_tensor(SPRY_DTYPE_I64, 2, (const int64_t[]){4, 3});
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, batch);
    net_input(&n, "y", SPRY_DTYPE_F32, 2, batch);
    net_node(&n, "Add", "x y", "a");
    assert_int_equal(infer_bind_input(n.g, "a", &good, NULL), SPRY_USAGE);
    assert_int_equal(infer_bind_input(n.g, "x", &other_size, NULL), SPRY_USAGE);
    assert_int_equal(infer_bind_input(n.g, "x", &other_rank, NULL), SPRY_USAGE);
    assert_int_equal(infer_bind_input(n.g, "x", &other_dtype, NULL), SPRY_USAGE);
    net_fini(&n);
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, batch);
    net_input(&n, "y", SPRY_DTYPE_F32, 2, batch);
    net_node(&n, "Add", "x y", "a");
    assert_int_equal(infer_bind_input(n.g, "x", &good, NULL), SPRY_OK);
    assert_type(&n, "y", "f32[4,3]"); /* the same symbol */
    assert_int_equal(infer_graph(n.g, NULL), SPRY_OK);
    assert_type(&n, "a", "f32[4,3]");
    net_fini(&n);
}

static void contradictions_name_the_node(void **state)
{
    net n;
    spry_error error;
    int32_t a;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, batch);
    net_node(&n, "Relu", "x", "a");
    a = net_value(&n, "a");
    n.g->values[a].type = graph_type_tensor(SPRY_DTYPE_F32, 2, (const int64_t[]){2, 4});
    assert_int_equal(infer_graph(n.g, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.where, "Relu"));
    assert_non_null(strstr(error.what, "'a'"));
    net_fini(&n);
}

/* Shape -> Gather -> Unsqueeze -> Concat -> Reshape: what exporters write for a flattening view. */
static void shape_arithmetic_is_followed(void **state)
{
    const int64_t zero = 0;
    const int64_t minus[] = {-1};
    const int64_t axis[] = {0};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){-1, 2, 3, 4});
    net_constant(&n, "zero", SPRY_DTYPE_I64, 0, NULL, &zero);
    net_constant(&n, "minus", SPRY_DTYPE_I64, 1, one, minus);
    net_constant(&n, "axis", SPRY_DTYPE_I64, 1, one, axis);
    net_node(&n, "Shape", "x", "shape");
    net_node(&n, "Gather", "shape zero", "size");
    net_node(&n, "Unsqueeze", "size axis", "row");
    net_node(&n, "Concat", "row minus", "target");
    assert_int_equal(graph_set_int(n.g, 3, "axis", 0, NULL), SPRY_OK);
    net_node(&n, "Reshape", "x target", "y");
    net_output(&n, "y");
    if (n.g->nodes[0].op == NULL || n.g->nodes[1].op == NULL || n.g->nodes[3].op == NULL) {
        net_fini(&n);
        skip();
    }
    assert_int_equal(infer_graph(n.g, NULL), SPRY_OK);
    assert_type(&n, "y", "f32[N,24]");
    net_fini(&n);
}

/* With the size known, the same arithmetic folds away. */
static void known_shapes_fold(void **state)
{
    pass_context c = {.m = NULL};
    const tensor *target;
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, (const int64_t[]){2, 6});
    net_node(&n, "Shape", "x", "target");
    net_node(&n, "Reshape", "x target", "y");
    net_node(&n, "Relu", "y", "z");
    net_output(&n, "z");
    assert_int_equal(pass_run_all(n.g, &c, NULL), SPRY_OK);
    assert_int_equal(n.g->node_count, 1);
    target = n.g->values[net_value(&n, "target")].constant;
    assert_null(target); /* folded, then not needed */
    assert_int_equal(net_find(&n, "Relu")->inputs[0], net_value(&n, "x"));
    net_fini(&n);
}

static void constants_fold(void **state)
{
    const float numbers[] = {1, -2, 3};
    const float *folded;
    pass_context c = {.m = NULL};
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 2, batch);
    net_constant(&n, "w", SPRY_DTYPE_F32, 1, (const int64_t[]){3}, numbers);
    net_node(&n, "Relu", "w", "v");
    net_node(&n, "Add", "v v", "u");
    net_node(&n, "Mul", "x u", "y");
    net_output(&n, "y");
    assert_int_equal(infer_graph(n.g, NULL), SPRY_OK);
    assert_int_equal(pass_fold(n.g, &c, NULL), SPRY_OK);
    assert_int_equal(c.changes, 2);
    assert_int_equal(n.g->node_count, 1);
    folded = graph_constant(n.g, net_value(&n, "u"))->data;
    assert_true(folded[0] == 2.0f && folded[1] == 0.0f && folded[2] == 6.0f);
    net_fini(&n);
}

/* A tiny file must not ask for a huge constant. */
static void huge_constants_do_not_fold(void **state)
{
    const float number = 1;
    const int64_t shape[] = {1 << 15, 1 << 15};
    pass_context c = {.m = NULL};
    net n;

    (void)state;
    net_init(&n, 13);
    net_constant(&n, "w", SPRY_DTYPE_F32, 0, NULL, &number);
    net_constant(&n, "shape", SPRY_DTYPE_I64, 1, (const int64_t[]){2}, shape);
    net_node(&n, "Expand", "w shape", "y");
    net_output(&n, "y");
    assert_int_equal(infer_graph(n.g, NULL), SPRY_OK);
    assert_int_equal(pass_fold(n.g, &c, NULL), SPRY_OK);
    assert_int_equal(c.changes, 0);
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_pass_through),
        cmocka_unit_test(inputs_are_bound_once),
        cmocka_unit_test(contradictions_name_the_node),
        cmocka_unit_test(shape_arithmetic_is_followed),
        cmocka_unit_test(known_shapes_fold),
        cmocka_unit_test(constants_fold),
        cmocka_unit_test(huge_constants_do_not_fold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
