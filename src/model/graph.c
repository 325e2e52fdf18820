/* Building a graph: values, nodes, ports and the growth of their arrays. */
#include "model/graph.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/limits.h"
#include "model/graph_names.h"
#include "ops/op.h"

spry_status graph_create(arena *memory, graph *parent, graph **g, spry_error *error)
{
    graph *created = arena_zeroed(memory, sizeof *created);
    graph_names *names = arena_zeroed(memory, sizeof *names);

    *g = NULL;
    if (created == NULL || names == NULL) {
        return alloc_failed(error, sizeof *created);
    }
    created->memory = memory;
    created->parent = parent;
    created->name = "";
    created->doc = "";
    created->names = names;
    *g = created;
    return SPRY_OK;
}

/* Moves an array of `used` elements to a larger place of the arena. */
static spry_status grow(arena *memory, void **array, size_t used, size_t *capacity, size_t needed,
                        size_t size, size_t ceiling, const char *what, spry_error *error)
{
    size_t wanted = *capacity < 8 ? 8 : *capacity * 2;
    void *larger;

    if (needed <= *capacity) {
        return SPRY_OK;
    }
    if (needed > ceiling) {
        return spry_fail(error, SPRY_LIMIT, NULL, NULL, "a graph may have at most %zu %s", ceiling,
                         what);
    }
    wanted = wanted < needed ? needed : wanted;
    wanted = wanted > ceiling ? ceiling : wanted;
    larger = arena_array(memory, wanted, size);
    if (larger == NULL) {
        return alloc_failed(error, wanted * size);
    }
    if (used > 0) {
        memcpy(larger, *array, used * size);
    }
    *array = larger;
    *capacity = wanted;
    return SPRY_OK;
}

static spry_status grow_values(graph *g, size_t needed, spry_error *error)
{
    void *array = g->values;
    spry_status status = grow(g->memory, &array, (size_t)g->value_count, &g->value_capacity, needed,
                              sizeof *g->values, LIMIT_GRAPH_VALUES, "values", error);

    g->values = array;
    return status;
}

static spry_status grow_nodes(graph *g, size_t needed, spry_error *error)
{
    void *array = g->nodes;
    spry_status status = grow(g->memory, &array, (size_t)g->node_count, &g->node_capacity, needed,
                              sizeof *g->nodes, LIMIT_GRAPH_NODES, "nodes", error);

    g->nodes = array;
    return status;
}

spry_status graph_reserve(graph *g, size_t values, size_t nodes, spry_error *error)
{
    spry_status status = grow_values(g, values, error);

    if (status == SPRY_OK) {
        status = grow_nodes(g, nodes, error);
    }
    return status == SPRY_OK ? graph_names_reserve(g, values, error) : status;
}

spry_status graph_add_value(graph *g, const char *name, int32_t *id, spry_error *error)
{
    int32_t added = g->value_count;
    const char *kept = name;
    graph_value *v;
    spry_status status = grow_values(g, (size_t)added + 1, error);

    *id = GRAPH_NONE;
    if (status != SPRY_OK) {
        return status;
    }
    if (name == NULL || graph_names_slot(g, name) != NULL) {
        status = graph_names_fresh(g, name, &kept, error);
        if (status != SPRY_OK) {
            return status;
        }
    } else {
        kept = arena_text(g->memory, name, strlen(name));
        if (kept == NULL) {
            return alloc_failed(error, strlen(name) + 1);
        }
    }
    v = &g->values[added];
    *v = (graph_value){.name = kept, .producer = GRAPH_NONE, .outer = GRAPH_NONE, .doc = ""};
    status = graph_names_insert(g, added, error);
    if (status == SPRY_OK) {
        g->value_count++;
        *id = added;
    }
    return status;
}

int32_t graph_find_value(const graph *g, const char *name)
{
    const int32_t *slot = graph_names_slot(g, name);

    return slot != NULL ? *slot - 1 : GRAPH_NONE;
}

/* A local value for `outer_value` of g's parent. */
static spry_status capture(graph *g, int32_t outer_value, int32_t *id, spry_error *error)
{
    spry_status status = graph_add_value(g, g->parent->values[outer_value].name, id, error);

    if (status == SPRY_OK) {
        g->values[*id].outer = outer_value;
        g->values[*id].type = g->parent->values[outer_value].type;
    }
    return status;
}

spry_status graph_resolve_value(graph *g, const char *name, int32_t *id, spry_error *error)
{
    graph *chain[LIMIT_SUBGRAPH_DEPTH + 1];
    int depth = 0;
    graph *level = g;
    int32_t found = graph_find_value(g, name);

    *id = GRAPH_NONE;
    while (found == GRAPH_NONE && level->parent != NULL) {
        if (depth > LIMIT_SUBGRAPH_DEPTH) {
            return spry_fail(error, SPRY_LIMIT, NULL, NULL, "subgraphs nest deeper than %d",
                             LIMIT_SUBGRAPH_DEPTH);
        }
        chain[depth++] = level;
        level = level->parent;
        found = graph_find_value(level, name);
    }
    while (found != GRAPH_NONE && depth > 0) {
        spry_status status = capture(chain[--depth], found, &found, error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    *id = found;
    return SPRY_OK;
}

spry_status graph_add_constant(graph *g, const char *name, const tensor *t, int32_t *id,
                               spry_error *error)
{
    spry_status status = graph_add_value(g, name, id, error);

    if (status == SPRY_OK) {
        graph_value *v = &g->values[*id];

        v->constant = t;
        v->type = graph_type_tensor(t->dtype, t->rank, t->shape);
    }
    return status;
}

/* `count` ports set to GRAPH_NONE, or NULL. */
static int32_t *add_ports(graph *g, int32_t count)
{
    int32_t *ports = arena_array(g->memory, (size_t)count, sizeof *ports);

    for (int32_t i = 0; ports != NULL && i < count; i++) {
        ports[i] = GRAPH_NONE;
    }
    return ports;
}

spry_status graph_add_node(graph *g, const char *type, const char *domain, int32_t opset,
                           int32_t input_count, int32_t output_count, int32_t *node,
                           spry_error *error)
{
    spry_status status = grow_nodes(g, (size_t)g->node_count + 1, error);
    graph_node *n;

    *node = GRAPH_NONE;
    if (status != SPRY_OK) {
        return status;
    }
    if (input_count < 0 || output_count < 0 || input_count > LIMIT_NODE_PORTS ||
        output_count > LIMIT_NODE_PORTS) {
        return spry_fail(error, SPRY_LIMIT, NULL, NULL, "a node may have at most %d ports",
                         LIMIT_NODE_PORTS);
    }
    n = &g->nodes[g->node_count];
    *n = (graph_node){.name = "",
                      .type = arena_text(g->memory, type, strlen(type)),
                      .domain = domain[0] == '\0' ? "" : graph_text(g, domain),
                      .overload = "",
                      .doc = "",
                      .inputs = add_ports(g, input_count),
                      .input_count = input_count,
                      .outputs = add_ports(g, output_count),
                      .output_count = output_count,
                      .opset = opset};
    if (n->type == NULL || n->domain == NULL || n->inputs == NULL || n->outputs == NULL) {
        return alloc_failed(error, sizeof *n);
    }
    n->op = op_find(n->domain, n->type, opset);
    *node = g->node_count++;
    return SPRY_OK;
}

const char *graph_text(graph *g, const char *text)
{
    return arena_text(g->memory, text, strlen(text));
}

void graph_set_input(graph *g, int32_t node, int32_t port, int32_t id)
{
    g->nodes[node].inputs[port] = id;
}

void graph_set_output(graph *g, int32_t node, int32_t port, int32_t id)
{
    graph_node *n = &g->nodes[node];
    int32_t previous = n->outputs[port];

    if (previous != GRAPH_NONE && g->values[previous].producer == node) {
        g->values[previous].producer = GRAPH_NONE;
    }
    n->outputs[port] = id;
    if (id != GRAPH_NONE) {
        g->values[id].producer = node;
    }
}

const tensor *graph_constant(const graph *g, int32_t id)
{
    while (g->values[id].outer != GRAPH_NONE && g->parent != NULL) {
        id = g->values[id].outer;
        g = g->parent;
    }
    return g->values[id].is_input ? NULL : g->values[id].constant;
}

bool graph_node_is(const graph_node *node, const char *type)
{
    return node->domain[0] == '\0' && strcmp(node->type, type) == 0;
}

char *graph_node_label(const graph *g, const graph_node *node, char *text, size_t size)
{
    if (node->name[0] != '\0') {
        (void)snprintf(text, size, "%.200s '%.300s'", node->type, node->name);
    } else {
        (void)snprintf(text, size, "%.200s #%td", node->type, node - g->nodes);
    }
    return text;
}
