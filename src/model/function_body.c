/* Node by node, in order. */
#include "model/function_body.h"

#include <string.h>

static bool same_attribute(const graph_attribute *a, const graph_attribute *b)
{
    if (b == NULL || a->kind != b->kind || (a->ref_name == NULL) != (b->ref_name == NULL)) {
        return false;
    }
    if (a->ref_name != NULL) {
        return strcmp(a->ref_name, b->ref_name) == 0;
    }
    if (a->count != b->count) {
        return false;
    }
    if (a->kind == GRAPH_ATTRIBUTE_FLOAT) {
        return memcmp(a->as.floats, b->as.floats, sizeof *a->as.floats) == 0;
    }
    return (a->kind == GRAPH_ATTRIBUTE_INT || a->kind == GRAPH_ATTRIBUTE_INTS) &&
           memcmp(a->as.ints, b->as.ints, (size_t)a->count * sizeof *a->as.ints) == 0;
}

/* `map` says which value of b is which of a; a node's result is noted there. */
static bool same_node(const graph_node *a, const graph_node *b, int32_t *map)
{
    bool same = strcmp(a->type, b->type) == 0 && strcmp(a->domain, b->domain) == 0 &&
                a->input_count == b->input_count && a->output_count == 1 && b->output_count == 1 &&
                a->attribute_count == b->attribute_count;

    for (int32_t i = 0; same && i < a->input_count; i++) {
        same = b->inputs[i] >= 0 && map[b->inputs[i]] == a->inputs[i];
    }
    for (int32_t i = 0; same && i < a->attribute_count; i++) {
        same = same_attribute(&a->attributes[i], graph_attribute_find(b, a->attributes[i].name));
    }
    if (same) {
        map[b->outputs[0]] = a->outputs[0];
    }
    return same;
}

bool function_body_same(const graph *a, const graph *b, arena *memory)
{
    int32_t *map = arena_array(memory, (size_t)b->value_count + 1, sizeof *map);
    bool same = map != NULL && a->node_count == b->node_count && a->input_count == b->input_count &&
                a->output_count == b->output_count;

    for (int32_t i = 0; same && i < b->value_count; i++) {
        map[i] = GRAPH_NONE;
    }
    for (int32_t i = 0; same && i < b->input_count; i++) {
        map[b->inputs[i]] = a->inputs[i];
    }
    for (int32_t i = 0; same && i < b->node_count; i++) {
        same = same_node(&a->nodes[i], &b->nodes[i], map);
    }
    for (int32_t i = 0; same && i < b->output_count; i++) {
        same = map[b->outputs[i]] == a->outputs[i];
    }
    return same;
}
