/* Building, sorting, rewriting and copying graphs, with captures in nested bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "support/net.h"

static const int64_t two[] = {2};
static const float numbers[] = {1, 2};

static void names_are_unique(void **state)
{
    net n;
    int32_t first;
    int32_t second;

    (void)state;
    net_init(&n, 13);
    assert_int_equal(graph_add_value(n.g, "a", &first, NULL), SPRY_OK);
    assert_int_equal(graph_add_value(n.g, "a", &second, NULL), SPRY_OK);
    assert_string_not_equal(n.g->values[first].name, n.g->values[second].name);
    assert_int_equal(graph_find_value(n.g, "a"), first);
    for (int i = 0; i < 5000; i++) {
        char name[16];
        int32_t id;

        (void)snprintf(name, sizeof name, "v%d", i);
        assert_int_equal(graph_add_value(n.g, name, &id, NULL), SPRY_OK);
        assert_int_equal(graph_find_value(n.g, name), id);
    }
    assert_int_equal(graph_find_value(n.g, "v4999"), second + 5000);
    assert_int_equal(graph_find_value(n.g, "v5000"), GRAPH_NONE);
    net_fini(&n);
}

static void sorting_keeps_free_order(void **state)
{
    net n;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 1, two);
    net_node(&n, "C", "b", "c");
    net_node(&n, "D", "x", "d");
    net_node(&n, "B", "a", "b");
    net_node(&n, "A", "x", "a");
    assert_int_equal(graph_sort(n.g, NULL), SPRY_OK);
    assert_string_equal(n.g->nodes[0].type, "A");
    assert_string_equal(n.g->nodes[1].type, "B");
    assert_string_equal(n.g->nodes[2].type, "C");
    assert_string_equal(n.g->nodes[3].type, "D");
    assert_int_equal(n.g->values[net_value(&n, "b")].producer, 1);
    net_fini(&n);
}

static void sorting_finds_cycles(void **state)
{
    net n;
    spry_error error;

    (void)state;
    net_init(&n, 13);
    net_node(&n, "A", "c", "a");
    net_node(&n, "B", "a", "b");
    net_node(&n, "C", "b", "c");
    assert_int_equal(graph_sort(n.g, &error), SPRY_BAD_INPUT);
    assert_true(error.where[0] != '\0');
    net_fini(&n);
}

/* A graph with a node that holds a body which holds a body; the innermost reads "a". */
static void build_nested(net *outer, net *middle, net *inner)
{
    graph *bodies[2];
    int32_t holder;

    net_init(outer, 13);
    net_init(middle, 13);
    net_init(inner, 13);
    net_input(outer, "x", SPRY_DTYPE_F32, 1, two);
    net_node(outer, "A", "x", "a");
    net_node(outer, "B", "x", "b");
    holder = net_node(outer, "If", "x", "y");
    net_output(outer, "y");
    middle->g->parent = outer->g;
    inner->g->parent = middle->g;
    net_node(inner, "Use", "a", "u");
    net_output(inner, "u");
    bodies[0] = inner->g;
    bodies[1] = middle->g;
    for (int i = 0; i < 2; i++) {
        net *at = i == 0 ? middle : outer;
        graph **held = arena_array(&at->memory, 1, sizeof *held);
        int32_t node = i == 0 ? net_node(middle, "If", "x", "m") : holder;
        graph_attribute attribute = {.name = "body", .kind = GRAPH_ATTRIBUTE_GRAPH, .count = 1};

        assert_non_null(held);
        held[0] = bodies[i];
        attribute.as.graphs = held;
        assert_int_equal(graph_set_attribute(at->g, node, &attribute, NULL), SPRY_OK);
    }
    net_output(middle, "m");
}

static void captures_follow_replacements(void **state)
{
    net outer;
    net middle;
    net inner;
    int32_t b;
    graph *copy = NULL;

    (void)state;
    build_nested(&outer, &middle, &inner);
    b = net_value(&outer, "b");
    assert_int_equal(inner.g->values[net_value(&inner, "a")].outer, net_value(&middle, "a"));
    assert_int_equal(graph_copy(outer.g, &outer.memory, NULL, &copy, NULL), SPRY_OK);
    assert_int_equal(graph_replace_value(outer.g, net_value(&outer, "a"), b, NULL), SPRY_OK);
    assert_int_equal(middle.g->values[net_value(&middle, "a")].outer, b);
    /* The copy's bodies are its own. */
    {
        const graph *body = graph_attribute_graph(&copy->nodes[2], "body");

        assert_ptr_not_equal(body, middle.g);
        assert_ptr_equal(body->parent, copy);
        assert_int_equal(body->values[graph_find_value(body, "a")].outer,
                         graph_find_value(copy, "a"));
    }
    net_fini(&inner);
    net_fini(&middle);
    net_fini(&outer);
}

static void sorting_heeds_captures(void **state)
{
    net outer;
    net middle;
    net inner;
    graph_node swap;

    (void)state;
    build_nested(&outer, &middle, &inner);
    swap = outer.g->nodes[0]; /* the holder first, what its body captures last */
    outer.g->nodes[0] = outer.g->nodes[2];
    outer.g->nodes[2] = swap;
    outer.g->values[net_value(&outer, "a")].producer = 2;
    outer.g->values[net_value(&outer, "y")].producer = 0;
    assert_int_equal(graph_sort(outer.g, NULL), SPRY_OK);
    assert_string_equal(outer.g->nodes[0].type, "A");
    assert_string_equal(outer.g->nodes[1].type, "If");
    net_fini(&inner);
    net_fini(&middle);
    net_fini(&outer);
}

static void replacing_keeps_the_interface(void **state)
{
    net n;
    int32_t y;

    (void)state;
    net_init(&n, 13);
    net_input(&n, "x", SPRY_DTYPE_F32, 1, two);
    net_node(&n, "A", "x", "a");
    net_node(&n, "Identity", "a", "y");
    net_output(&n, "y");
    y = net_value(&n, "y");
    assert_int_equal(graph_replace_value(n.g, y, net_value(&n, "a"), NULL), SPRY_OK);
    assert_string_equal(n.g->values[n.g->outputs[0]].name, "y");
    assert_int_not_equal(n.g->outputs[0], y);
    assert_true(n.g->values[n.g->outputs[0]].is_output);
    assert_false(n.g->values[y].is_output);
    /* An input cannot become an output: an Identity stays between. */
    assert_int_equal(graph_replace_value(n.g, n.g->outputs[0], net_value(&n, "x"), NULL), SPRY_OK);
    assert_int_equal(graph_sort(n.g, NULL), SPRY_OK);
    assert_string_equal(n.g->values[n.g->outputs[0]].name, "y");
    assert_string_equal(n.g->nodes[n.g->values[n.g->outputs[0]].producer].type, "Identity");
    net_fini(&n);
}

static void lists_uses_once_per_node(void **state)
{
    net n;
    graph_uses uses;
    int32_t x;

    (void)state;
    net_init(&n, 13);
    x = net_input(&n, "x", SPRY_DTYPE_F32, 1, two);
    net_node(&n, "Add", "x x", "a");
    net_node(&n, "Mul", "a x", "b");
    assert_int_equal(graph_find_uses(n.g, &n.memory, &uses, NULL), SPRY_OK);
    assert_int_equal(uses.offsets[x + 1] - uses.offsets[x], 2);
    assert_int_equal(uses.users[uses.offsets[x]], 0);
    assert_int_equal(uses.users[uses.offsets[x] + 1], 1);
    net_fini(&n);
}

static void attributes_are_replaced(void **state)
{
    static const int64_t perm[] = {1, 0};
    net n;
    int64_t count;

    (void)state;
    net_init(&n, 13);
    net_constant(&n, "w", SPRY_DTYPE_F32, 1, two, numbers);
    net_node(&n, "A", "w", "a");
    assert_int_equal(graph_set_int(n.g, 0, "axis", 3, NULL), SPRY_OK);
    assert_int_equal(graph_set_int(n.g, 0, "axis", 4, NULL), SPRY_OK);
    assert_int_equal(graph_set_float(n.g, 0, "alpha", 0.5f, NULL), SPRY_OK);
    assert_int_equal(graph_set_string(n.g, 0, "mode", "linear", NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n.g, 0, "perm", 2, perm, NULL), SPRY_OK);
    assert_int_equal(n.g->nodes[0].attribute_count, 4);
    assert_int_equal(graph_attribute_int(&n.g->nodes[0], "axis", 0), 4);
    assert_true(graph_attribute_float(&n.g->nodes[0], "alpha", 0) == 0.5f);
    assert_string_equal(graph_attribute_string(&n.g->nodes[0], "mode", ""), "linear");
    assert_int_equal(graph_attribute_ints(&n.g->nodes[0], "perm", &count)[1], 0);
    assert_int_equal(count, 2);
    assert_int_equal(graph_attribute_int(&n.g->nodes[0], "alpha", 9), 9);
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique),         cmocka_unit_test(sorting_keeps_free_order),
        cmocka_unit_test(sorting_finds_cycles),     cmocka_unit_test(captures_follow_replacements),
        cmocka_unit_test(sorting_heeds_captures),   cmocka_unit_test(replacing_keeps_the_interface),
        cmocka_unit_test(lists_uses_once_per_node), cmocka_unit_test(attributes_are_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
