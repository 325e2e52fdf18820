/* Attributes of nodes: reading with a fallback, setting with a copy of the data. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/limits.h"
#include "model/graph.h"

const graph_attribute *graph_attribute_find(const graph_node *node, const char *name)
{
    for (int32_t i = 0; i < node->attribute_count; i++) {
        if (strcmp(node->attributes[i].name, name) == 0) {
            return &node->attributes[i];
        }
    }
    return NULL;
}

/* The attribute when it exists with that kind, holding data (not a function's reference). */
static const graph_attribute *find_kind(const graph_node *node, const char *name,
                                        graph_attribute_kind kind)
{
    const graph_attribute *found = graph_attribute_find(node, name);

    return found != NULL && found->kind == kind && found->ref_name == NULL ? found : NULL;
}

int64_t graph_attribute_int(const graph_node *node, const char *name, int64_t fallback)
{
    const graph_attribute *found = find_kind(node, name, GRAPH_ATTRIBUTE_INT);

    return found != NULL ? found->as.ints[0] : fallback;
}

float graph_attribute_float(const graph_node *node, const char *name, float fallback)
{
    const graph_attribute *found = find_kind(node, name, GRAPH_ATTRIBUTE_FLOAT);

    return found != NULL ? found->as.floats[0] : fallback;
}

const char *graph_attribute_string(const graph_node *node, const char *name, const char *fallback)
{
    const graph_attribute *found = find_kind(node, name, GRAPH_ATTRIBUTE_STRING);

    return found != NULL ? found->as.strings[0].data : fallback;
}

const int64_t *graph_attribute_ints(const graph_node *node, const char *name, int64_t *count)
{
    const graph_attribute *found = find_kind(node, name, GRAPH_ATTRIBUTE_INTS);

    *count = found != NULL ? found->count : 0;
    return found != NULL ? found->as.ints : NULL;
}

const float *graph_attribute_floats(const graph_node *node, const char *name, int64_t *count)
{
    const graph_attribute *found = find_kind(node, name, GRAPH_ATTRIBUTE_FLOATS);

    *count = found != NULL ? found->count : 0;
    return found != NULL ? found->as.floats : NULL;
}

graph *graph_attribute_graph(const graph_node *node, const char *name)
{
    const graph_attribute *found = find_kind(node, name, GRAPH_ATTRIBUTE_GRAPH);

    return found != NULL ? found->as.graphs[0] : NULL;
}

spry_status graph_set_attribute(graph *g, int32_t node, const graph_attribute *attribute,
                                spry_error *error)
{
    graph_node *n = &g->nodes[node];
    size_t count = (size_t)n->attribute_count;
    graph_attribute *larger;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(n->attributes[i].name, attribute->name) == 0) {
            n->attributes[i] = *attribute;
            return SPRY_OK;
        }
    }
    larger = arena_array(g->memory, count + 1, sizeof *larger);
    if (larger == NULL) {
        return alloc_failed(error, (count + 1) * sizeof *larger);
    }
    if (count > 0) {
        memcpy(larger, n->attributes, count * sizeof *larger);
    }
    larger[count] = *attribute;
    n->attributes = larger;
    n->attribute_count++;
    return SPRY_OK;
}

/* An attribute with a copy of `count` elements of `size` bytes. */
static spry_status set_data(graph *g, int32_t node, const char *name, graph_attribute_kind kind,
                            int64_t count, const void *data, size_t size, spry_error *error)
{
    graph_attribute attribute = {.name = graph_text(g, name), .kind = kind, .count = count};
    size_t bytes;
    void *copy;

    if (count < 0 || !checked_mul((size_t)count, size, &bytes) ||
        bytes > (size_t)LIMIT_ATTRIBUTE_BYTES) {
        return spry_fail(error, SPRY_LIMIT, name, NULL, "an attribute may have at most %d bytes",
                         LIMIT_ATTRIBUTE_BYTES);
    }
    copy = arena_zeroed(g->memory, bytes);
    if (attribute.name == NULL || copy == NULL) {
        return alloc_failed(error, bytes);
    }
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    attribute.doc = "";
    if (kind == GRAPH_ATTRIBUTE_FLOAT) {
        attribute.as.floats = copy;
    } else if (kind == GRAPH_ATTRIBUTE_STRING) {
        attribute.as.strings = copy;
    } else {
        attribute.as.ints = copy;
    }
    return graph_set_attribute(g, node, &attribute, error);
}

spry_status graph_set_ints(graph *g, int32_t node, const char *name, int64_t count,
                           const int64_t *ints, spry_error *error)
{
    return set_data(g, node, name, GRAPH_ATTRIBUTE_INTS, count, ints, sizeof *ints, error);
}

spry_status graph_set_int(graph *g, int32_t node, const char *name, int64_t number,
                          spry_error *error)
{
    return set_data(g, node, name, GRAPH_ATTRIBUTE_INT, 1, &number, sizeof number, error);
}

spry_status graph_set_float(graph *g, int32_t node, const char *name, float number,
                            spry_error *error)
{
    return set_data(g, node, name, GRAPH_ATTRIBUTE_FLOAT, 1, &number, sizeof number, error);
}

spry_status graph_set_string(graph *g, int32_t node, const char *name, const char *text,
                             spry_error *error)
{
    spry_text copy = {graph_text(g, text), strlen(text)};

    if (copy.data == NULL) {
        return alloc_failed(error, copy.size + 1);
    }
    return set_data(g, node, name, GRAPH_ATTRIBUTE_STRING, 1, &copy, sizeof copy, error);
}
