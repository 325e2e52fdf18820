/* Deep copies of structure: nodes, values and subgraphs are copied, constants and attribute data
 * are shared with the source. */
#include <string.h>

#include "base/alloc.h"
#include "model/graph.h"
#include "model/graph_names.h"
#include "model/graph_walk.h"

/* `count` elements of `size` bytes copied into the arena; NULL when memory ran out. */
static void *copy_array(arena *memory, const void *source, size_t count, size_t size)
{
    void *copy = arena_array(memory, count, size);

    if (copy != NULL && count > 0) {
        memcpy(copy, source, count * size);
    }
    return copy;
}

/* Replaces the subgraphs of a copied attribute by copies. */
static spry_status copy_subgraphs(graph *g, graph_attribute *attribute, spry_error *error)
{
    int64_t count;
    graph *const *graphs = graph_attribute_subgraphs(attribute, &count);
    graph **copies;

    if (count == 0) {
        return SPRY_OK;
    }
    copies = arena_array(g->memory, (size_t)count, sizeof *copies);
    if (copies == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *copies);
    }
    for (int64_t i = 0; i < count; i++) {
        spry_status status = graph_copy(graphs[i], g->memory, g, &copies[i], error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    attribute->as.graphs = copies;
    return SPRY_OK;
}

spry_status graph_copy_attributes(graph *g, const graph_attribute *source, int32_t count,
                                  graph_attribute **copy, spry_error *error)
{
    *copy = copy_array(g->memory, source, (size_t)count, sizeof **copy);
    if (*copy == NULL) {
        return alloc_failed(error, (size_t)count * sizeof **copy);
    }
    for (int32_t i = 0; i < count; i++) {
        spry_status status = copy_subgraphs(g, &(*copy)[i], error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

static spry_status copy_node(graph *g, graph_node *node, spry_error *error)
{
    node->inputs =
        copy_array(g->memory, node->inputs, (size_t)node->input_count, sizeof *node->inputs);
    node->outputs =
        copy_array(g->memory, node->outputs, (size_t)node->output_count, sizeof *node->outputs);
    if (node->inputs == NULL || node->outputs == NULL) {
        return alloc_failed(error, sizeof *node);
    }
    return graph_copy_attributes(g, node->attributes, node->attribute_count, &node->attributes,
                                 error);
}

static spry_status copy_arrays(const graph *source, graph *g, spry_error *error)
{
    arena *memory = g->memory;
    size_t values = (size_t)source->value_count;
    size_t nodes = (size_t)source->node_count;

    g->values = copy_array(memory, source->values, values, sizeof *g->values);
    g->nodes = copy_array(memory, source->nodes, nodes, sizeof *g->nodes);
    g->inputs = copy_array(memory, source->inputs, (size_t)source->input_count, sizeof *g->inputs);
    g->outputs =
        copy_array(memory, source->outputs, (size_t)source->output_count, sizeof *g->outputs);
    if (g->values == NULL || g->nodes == NULL || g->inputs == NULL || g->outputs == NULL) {
        return alloc_failed(error, values * sizeof *g->values + nodes * sizeof *g->nodes);
    }
    g->value_count = source->value_count;
    g->value_capacity = values;
    g->node_count = source->node_count;
    g->node_capacity = nodes;
    g->input_count = source->input_count;
    g->output_count = source->output_count;
    return SPRY_OK;
}

spry_status graph_copy(const graph *source, arena *memory, graph *parent, graph **copy,
                       spry_error *error)
{
    graph *g = NULL;
    spry_status status = graph_create(memory, parent, &g, error);

    *copy = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    g->name = source->name;
    g->doc = source->doc;
    g->unknown = source->unknown;
    g->source = source->source;
    status = copy_arrays(source, g, error);
    if (status == SPRY_OK) {
        g->names->counter = source->names->counter;
        status = graph_names_reserve(g, (size_t)g->value_count, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < g->value_count; i++) {
        status = graph_names_insert(g, i, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        status = copy_node(g, &g->nodes[i], error);
    }
    if (status == SPRY_OK) {
        *copy = g;
    }
    return status;
}
