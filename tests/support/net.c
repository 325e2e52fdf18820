/* Graphs by names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "support/net.h"

enum { MOST_PORTS = 16 };

void net_init(net *n, int32_t opset)
{
    n->opset = opset;
    arena_init(&n->memory, NULL, (size_t)64 << 20);
    assert_int_equal(graph_create(&n->memory, NULL, &n->g, NULL), SPRY_OK);
    n->g->inputs = arena_array(&n->memory, MOST_PORTS, sizeof(int32_t));
    n->g->outputs = arena_array(&n->memory, MOST_PORTS, sizeof(int32_t));
    assert_non_null(n->g->outputs);
}

void net_fini(net *n)
{
    arena_fini(&n->memory);
}

int32_t net_input(net *n, const char *name, spry_dtype dtype, int rank, const int64_t *shape)
{
    int32_t id;

    assert_int_equal(graph_add_value(n->g, name, &id, NULL), SPRY_OK);
    n->g->values[id].type = graph_type_tensor(dtype, rank, shape);
    for (int i = 0; i < rank; i++) {
        n->g->values[id].type.dims[i].symbol = shape[i] < 0 ? "N" : NULL;
    }
    n->g->values[id].is_input = true;
    n->g->inputs[n->g->input_count++] = id;
    return id;
}

void net_output(net *n, const char *name)
{
    int32_t id = net_value(n, name);

    n->g->values[id].is_output = true;
    n->g->outputs[n->g->output_count++] = id;
}

int32_t net_constant(net *n, const char *name, spry_dtype dtype, int rank, const int64_t *shape,
                     const void *data)
{
    tensor *t = arena_zeroed(&n->memory, sizeof *t);
    int32_t id;

    assert_non_null(t);
    assert_int_equal(tensor_init(t, dtype, rank, shape, NULL, NULL), SPRY_OK);
    t->data = arena_bytes(&n->memory, t->bytes);
    assert_non_null(t->data);
    memcpy(t->data, data, t->bytes);
    assert_int_equal(graph_add_constant(n->g, name, t, &id, NULL), SPRY_OK);
    return id;
}

/* The ids of the names, made where they are missing; returns how many. */
static int32_t find_ids(net *n, const char *names, int32_t *ids)
{
    char copy[512];
    char *rest = copy;
    int32_t count = 0;

    (void)snprintf(copy, sizeof copy, "%s", names);
    for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
        assert_true(count < MOST_PORTS);
        ids[count] = GRAPH_NONE;
        if (strcmp(name, "-") != 0) {
            assert_int_equal(graph_resolve_value(n->g, name, &ids[count], NULL), SPRY_OK);
            if (ids[count] == GRAPH_NONE) {
                assert_int_equal(graph_add_value(n->g, name, &ids[count], NULL), SPRY_OK);
            }
        }
        count++;
    }
    return count;
}

int32_t net_node(net *n, const char *type, const char *inputs, const char *outputs)
{
    int32_t in[MOST_PORTS];
    int32_t out[MOST_PORTS];
    int32_t in_count = find_ids(n, inputs, in);
    int32_t out_count = find_ids(n, outputs, out);
    int32_t id;

    assert_int_equal(graph_add_node(n->g, type, "", n->opset, in_count, out_count, &id, NULL),
                     SPRY_OK);
    for (int32_t i = 0; i < in_count; i++) {
        graph_set_input(n->g, id, i, in[i]);
    }
    for (int32_t i = 0; i < out_count; i++) {
        if (out[i] != GRAPH_NONE) {
            graph_set_output(n->g, id, i, out[i]);
        }
    }
    return id;
}

int net_count(const net *n, const char *type)
{
    int count = 0;

    for (int32_t i = 0; i < n->g->node_count; i++) {
        count += !n->g->nodes[i].removed && strcmp(n->g->nodes[i].type, type) == 0;
    }
    return count;
}

const graph_node *net_find(const net *n, const char *type)
{
    assert_int_equal(net_count(n, type), 1);
    for (int32_t i = 0; i < n->g->node_count; i++) {
        if (!n->g->nodes[i].removed && strcmp(n->g->nodes[i].type, type) == 0) {
            return &n->g->nodes[i];
        }
    }
    return NULL;
}

int32_t net_value(const net *n, const char *name)
{
    int32_t id = graph_find_value(n->g, name);

    assert_int_not_equal(id, GRAPH_NONE);
    return id;
}
