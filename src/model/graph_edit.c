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

int32_t graph_follow(int32_t *map, int32_t id)
{
    int32_t end = id;

    while (map[end] != end) {
        end = map[end];
    }
    while (map[id] != end) { /* shorten the path for the next call */
        int32_t next = map[id];

        map[id] = end;
        id = next;
    }
    return end;
}

static void redirect_ids(int32_t *ids, int32_t count, int32_t *map)
{
    for (int32_t i = 0; i < count; i++) {
        if (ids[i] != GRAPH_NONE) {
            ids[i] = graph_follow(map, ids[i]);
        }
    }
}

/* What `inner` captures from the enclosing graph follows the map. Names are put right when the
 * graph is written. */
static void redirect_captures(graph *inner, int32_t *map)
{
    for (int32_t i = 0; i < inner->value_count; i++) {
        if (inner->values[i].outer != GRAPH_NONE) {
            inner->values[i].outer = graph_follow(map, inner->values[i].outer);
        }
    }
}

void graph_redirect_uses(graph *g, int32_t *map)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        graph_node *n = &g->nodes[i];

        if (n->removed) {
            continue;
        }
        redirect_ids(n->inputs, n->input_count, map);
        for (int32_t k = 0; k < n->attribute_count; k++) {
            int64_t count;
            graph *const *graphs = graph_attribute_subgraphs(&n->attributes[k], &count);

            for (int64_t b = 0; b < count; b++) {
                redirect_captures(graphs[b], map);
            }
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

void graph_take_output(graph *g, int32_t from, int32_t to)
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
    int32_t *map;

    if (from == to) {
        return SPRY_OK;
    }
    map = alloc_array(&g->memory->allocator, (size_t)g->value_count, sizeof *map);
    if (map == NULL) {
        return alloc_failed(error, (size_t)g->value_count * sizeof *map);
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        map[i] = i == from ? to : i;
    }
    graph_redirect_uses(g, map);
    alloc_release(&g->memory->allocator, map, (size_t)g->value_count * sizeof *map);
    if (!g->values[from].is_output) {
        return SPRY_OK;
    }
    if (!graph_can_be_output(g, to)) {
        return bridge_output(g, from, to, error);
    }
    graph_take_output(g, from, to);
    return SPRY_OK;
}
