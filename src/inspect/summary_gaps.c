/* All that cannot be run, at once: (operator, opset, reason) with the nodes that need it. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/summary.h"
#include "ops/op.h"

enum { GAP_REASON_SIZE = 128 };

/* Why the node cannot be run, into `reason`; false when it can. */
static bool find_reason(const summary *s, const graph *g, const graph_node *node, char *reason,
                        size_t size)
{
    const op *definition = op_of_node(node);

    if (definition == NULL) {
        if (model_find_function(s->m, node->domain, node->type, node->overload) != NULL) {
            return false;
        }
        (void)snprintf(reason, size, "no such operator");
        return true;
    }
    for (int32_t i = 0; i < node->input_count; i++) {
        bool repeats = (definition->flags & OP_LAST_TYPES_REPEAT) != 0;
        int32_t slot = i < OP_TYPE_SLOTS ? i : OP_TYPE_SLOTS - 1;
        if (node->inputs[i] == GRAPH_NONE) {
            continue;
        }
        while (repeats && slot > 0 && definition->types[slot] == 0) {
            slot--;
        }
        const graph_type *type = &g->values[node->inputs[i]].type;
        uint32_t accepted = i < OP_TYPE_SLOTS || repeats ? definition->types[slot] : 0;
        if (accepted != 0 && type->kind == GRAPH_TYPE_TENSOR && type->dtype != SPRY_DTYPE_NONE &&
            (accepted & dtype_bit(type->dtype)) == 0) {
            (void)snprintf(reason, size, "input %d is %s", (int)i, spry_dtype_name(type->dtype));
            return true;
        }
    }
    return false;
}

static spry_status append_label(summary *s, const graph *g, const graph_node *node,
                                spry_inspect_gap *gap, spry_error *error)
{
    char label[SUMMARY_LABEL_SIZE];

    if (gap->nodes++ >= SUMMARY_GAP_LABELS) {
        return SPRY_OK;
    }
    (void)graph_node_label(g, node, label, sizeof label);
    size_t size = strlen(gap->labels) + strlen(label) + 3;
    char *joined = arena_bytes(&s->memory, size);

    if (joined == NULL) {
        return alloc_failed(error, size);
    }
    (void)snprintf(joined, size, "%s%s%s", gap->labels, gap->labels[0] != '\0' ? ", " : "", label);
    gap->labels = joined;
    return SPRY_OK;
}

static spry_status add_gap(summary *s, const graph *g, const graph_node *node, const char *reason,
                           spry_error *error)
{
    for (int32_t i = 0; i < s->gap_count; i++) {
        spry_inspect_gap *gap = &s->gaps[i];
        if (strcmp(gap->type, node->type) == 0 && strcmp(gap->domain, node->domain) == 0 &&
            gap->opset == node->opset && strcmp(gap->reason, reason) == 0) {
            return append_label(s, g, node, gap, error);
        }
    }
    void *array = s->gaps;
    spry_status status =
        summary_grow(s, &array, &s->gap_capacity, s->gap_count, sizeof *s->gaps, error);

    s->gaps = array;
    if (status != SPRY_OK) {
        return status;
    }
    spry_inspect_gap *gap = &s->gaps[s->gap_count++];
    *gap = (spry_inspect_gap){.type = node->type,
                              .domain = node->domain,
                              .opset = node->opset,
                              .reason = summary_text(s, reason),
                              .labels = ""};
    if (gap->reason == NULL) {
        return alloc_failed(error, GAP_REASON_SIZE);
    }
    return append_label(s, g, node, gap, error);
}

static spry_status search(summary *s, const graph *g, spry_error *error);

static spry_status search_bodies(summary *s, const graph_node *node, spry_error *error)
{
    for (int32_t a = 0; a < node->attribute_count; a++) {
        const graph_attribute *attribute = &node->attributes[a];
        bool holds = (attribute->kind == GRAPH_ATTRIBUTE_GRAPH ||
                      attribute->kind == GRAPH_ATTRIBUTE_GRAPHS) &&
                     attribute->ref_name == NULL;

        for (int64_t i = 0; holds && i < attribute->count; i++) {
            spry_status status = search(s, attribute->as.graphs[i], error);
            if (status != SPRY_OK) {
                return status;
            }
        }
    }
    return SPRY_OK;
}

static spry_status search(summary *s, const graph *g, spry_error *error)
{
    for (int32_t n = 0; n < g->node_count; n++) {
        char reason[GAP_REASON_SIZE];
        spry_status status = SPRY_OK;
        if (find_reason(s, g, &g->nodes[n], reason, sizeof reason)) {
            status = add_gap(s, g, &g->nodes[n], reason, error);
            if (g == s->g) {
                s->nodes[n].is_supported = false;
            }
        }
        if (status == SPRY_OK) {
            status = search_bodies(s, &g->nodes[n], error);
        }
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

spry_status summary_find_gaps(summary *s, spry_error *error)
{
    return search(s, s->g, error);
}
