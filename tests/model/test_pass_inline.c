/* Model-local functions become nodes: names, attributes, captures, circles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/pass.h"
#include "support/proto.h"

static const int64_t two[] = {2};

static void put_opset(proto *p, unsigned field, const char *domain, int64_t version)
{
    proto imported = {0};

    proto_text(&imported, 1, domain);
    proto_int(&imported, 2, (uint64_t)version);
    proto_message(p, field, &imported);
}

/* A node of domain "d" with an attribute: a number, or a reference to the function's. */
static void put_call(proto *p, unsigned field, const char *type, const char *domain,
                     const char *input, const char *output, const char *attribute,
                     const char *reference, int64_t number)
{
    proto node = {0};
    proto a = {0};

    proto_text(&node, 1, input);
    proto_text(&node, 2, output);
    proto_text(&node, 4, type);
    proto_text(&node, 7, domain);
    if (attribute != NULL) {
        proto_text(&a, 1, attribute);
        if (reference != NULL) {
            proto_text(&a, 21, reference);
        } else {
            proto_int(&a, 3, (uint64_t)number);
        }
        proto_int(&a, 20, GRAPH_ATTRIBUTE_INT);
        proto_message(&node, 5, &a);
    }
    proto_message(p, field, &node);
}

/* Function `name`(x) -> y that calls `inner` twice in a row, passing its attribute "k" on. */
static void put_function(proto *p, const char *name, const char *inner, const char *inner_domain)
{
    proto f = {0};

    proto_text(&f, 1, name);
    proto_text(&f, 4, "x");
    proto_text(&f, 5, "y");
    proto_text(&f, 6, "k");
    put_call(&f, 7, inner, inner_domain, "x", "t", "k", "k", 0);
    put_call(&f, 7, inner, inner_domain, "t", "y", "k", "k", 0);
    put_opset(&f, 9, "", 13);
    put_opset(&f, 9, "d", 1);
    proto_text(&f, 10, "d");
    proto_message(p, 25, &f);
}

/* A graph that calls "outer" with k = 7. */
static void put_model(proto *p)
{
    proto body = {0};

    proto_value_info(&body, 11, "in", SPRY_DTYPE_F32, 1, two);
    put_call(&body, 1, "outer", "d", "in", "out", "k", NULL, 7);
    proto_value_info(&body, 12, "out", SPRY_DTYPE_F32, 1, two);
    proto_model(p, 8, 13, &body);
    put_opset(p, 8, "d", 1);
}

static spry_status inline_model(const proto *p, spry_model **m, arena *memory, graph **g)
{
    pass_context c = {0};

    assert_int_equal(spry_model_parse(NULL, p->data, p->size, NULL, m, NULL), SPRY_OK);
    arena_init(memory, NULL, (size_t)64 << 20);
    assert_int_equal(graph_copy((*m)->main, memory, NULL, g, NULL), SPRY_OK);
    c.m = *m;
    return pass_inline(*g, &c, NULL);
}

static void expands_nested_calls(void **state)
{
    proto p = {0};
    spry_model *m = NULL;
    arena memory;
    graph *g;

    (void)state;
    put_model(&p);
    put_function(&p, "outer", "inner", "d");
    put_function(&p, "inner", "Leaf", "");
    assert_int_equal(inline_model(&p, &m, &memory, &g), SPRY_OK);
    assert_int_equal(g->node_count, 4);
    for (int32_t i = 0; i < 4; i++) {
        const graph_node *n = &g->nodes[i];

        assert_string_equal(n->type, "Leaf");
        assert_int_equal(n->opset, 13);
        assert_int_equal(graph_attribute_int(n, "k", 0), 7);
        if (i > 0) {
            assert_int_equal(n->inputs[0], g->nodes[i - 1].outputs[0]);
        }
    }
    assert_string_equal(g->values[g->nodes[0].inputs[0]].name, "in");
    assert_int_equal(g->nodes[3].outputs[0], g->outputs[0]);
    assert_string_equal(g->values[g->outputs[0]].name, "out");
    arena_fini(&memory);
    spry_model_destroy(m);
    proto_fini(&p);
}

static void refuses_circles(void **state)
{
    proto p = {0};
    spry_model *m = NULL;
    arena memory;
    graph *g;
    int64_t count;

    (void)state;
    put_model(&p);
    put_function(&p, "outer", "inner", "d");
    put_function(&p, "inner", "outer", "d");
    assert_int_equal(inline_model(&p, &m, &memory, &g), SPRY_LIMIT);
    assert_int_equal(spry_model_unsupported(m, NULL, NULL, &count, NULL), SPRY_LIMIT);
    arena_fini(&memory);
    spry_model_destroy(m);
    proto_fini(&p);
}

static void names_all_that_is_unsupported(void *context, const spry_unsupported *item)
{
    assert_string_equal(item->type, "Leaf");
    assert_int_equal(item->opset, 13);
    assert_true(strstr(item->node, "outer") != NULL);
    ++*(int *)context;
}

static void lists_unsupported_inside_functions(void **state)
{
    proto p = {0};
    spry_model *m = NULL;
    int64_t count;
    int seen = 0;

    (void)state;
    put_model(&p);
    put_function(&p, "outer", "Leaf", "");
    assert_int_equal(spry_model_parse(NULL, p.data, p.size, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(spry_model_unsupported(m, names_all_that_is_unsupported, &seen, &count, NULL),
                     SPRY_OK);
    assert_int_equal(count, 2);
    assert_int_equal(seen, 2);
    spry_model_destroy(m);
    proto_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands_nested_calls),
        cmocka_unit_test(refuses_circles),
        cmocka_unit_test(lists_unsupported_inside_functions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
