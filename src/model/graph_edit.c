/* Rewriting: redirecting uses, removing nodes, renaming values. */
#include <string.h>

#include "base/alloc.h"
#include "model/graph.h"
#include "model/graph_names.h"
#include "model/graph_walk.h"

void graph_remove_node(graph *g, int32_t node)
{
    graph_node *n = &g->nodes[node];

    for (int32_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE && g->values[n->outputs[i]].producer == node) {
            g->values[n->outputs[i]].producer = GRAPH_NONE;
        }
    }
    n->removed = true;
}

/* Local ids of `inner` that capture `outer` of the enclosing graph start to capture `to`. Their
 * names are put right when the graph is written. */
static void retarget_captures(graph *inner, int32_t from, int32_t to)
{
    for (int32_t i = 0; i < inner->value_count; i++) {
        if (inner->values[i].outer == from) {
            inner->values[i].outer = to;
        }
    }
}

static void retarget_node(graph_node *node, int32_t from, int32_t to)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] == from) {
            node->inputs[i] = to;
        }
    }
    for (int32_t i = 0; i < node->attribute_count; i++) {
        int64_t count;
        graph *const *graphs = graph_attribute_subgraphs(&node->attributes[i], &count);

        for (int64_t k = 0; k < count; k++) {
            retarget_captures(graphs[k], from, to);
        }
    }
}

void graph_swap_names(graph *g, int32_t a, int32_t b)
{
    graph_value *x = &g->values[a];
    graph_value *y = &g->values[b];
    int32_t *slot_x = graph_names_slot(g, x->name);
    int32_t *slot_y = graph_names_slot(g, y->name);
    const char *name = x->name;

    *slot_x = b + 1;
    *slot_y = a + 1;
    x->name = y->name;
    y->name = name;
}

bool graph_can_be_output(const graph *g, int32_t id)
{
    const graph_value *v = &g->values[id];

    return !v->is_input && !v->is_output && v->outer == GRAPH_NONE;
}

/* `to` becomes the graph output that `from` was. */
static void take_over_output(graph *g, int32_t from, int32_t to)
{
    graph_value *old = &g->values[from];
    graph_value *new = &g->values[to];

    graph_swap_names(g, from, to);
    for (int32_t i = 0; i < g->output_count; i++) {
        if (g->outputs[i] == from) {
            g->outputs[i] = to;
        }
    }
    new->type = old->type;
    new->is_output = true;
    new->is_declared = old->is_declared;
    new->raw_type = old->raw_type;
    new->unknown = old->unknown;
    new->doc = old->doc;
    old->is_output = false;
    old->is_declared = false;
}

/* Keeps output `from` apart from `to` by an Identity, where a model input or another output cannot
 * take over the name. */
static spry_status bridge_output(graph *g, int32_t from, int32_t to, spry_error *error)
{
    int32_t producer = g->values[from].producer;
    int32_t opset = producer != GRAPH_NONE ? g->nodes[producer].opset : 1;
    int32_t node;
    spry_status status;

    if (producer != GRAPH_NONE && g->nodes[producer].domain[0] != '\0') {
        opset = 13; /* Identity of any type of tensor */
    }
    status = graph_add_node(g, "Identity", "", opset, 1, 1, &node, error);
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; producer != GRAPH_NONE && i < g->nodes[producer].output_count; i++) {
        if (g->nodes[producer].outputs[i] == from) {
            graph_set_output(g, producer, i, GRAPH_NONE);
        }
    }
    graph_set_input(g, node, 0, to);
    graph_set_output(g, node, 0, from);
    return SPRY_OK;
}

spry_status graph_replace_value(graph *g, int32_t from, int32_t to, spry_error *error)
{
    if (from == to) {
        return SPRY_OK;
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed) {
            retarget_node(&g->nodes[i], from, to);
        }
    }
    if (!g->values[from].is_output) {
        return SPRY_OK;
    }
    if (!graph_can_be_output(g, to)) {
        return bridge_output(g, from, to, error);
    }
    take_over_output(g, from, to);
    return SPRY_OK;
}
