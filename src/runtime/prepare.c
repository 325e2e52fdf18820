/* From a model's graph to one that can be planned. */
#include "runtime/prepare.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"

static spry_status resolve_bodies(graph *g, int depth, spry_error *error);

static spry_status resolve(graph *g, int depth, spry_error *error)
{
    for (int32_t n = 0; n < g->node_count; n++) {
        graph_node *node = &g->nodes[n];

        node->op = op_find(node->domain, node->type, node->opset);
        if (node->op == NULL) {
            char label[512];
            return spry_fail(error, SPRY_UNSUPPORTED, graph_node_label(g, node, label, sizeof label), NULL, "operator %s is not supported", node->type);
        }
    }
    return resolve_bodies(g, depth, error);
}
static spry_status resolve_bodies(graph *g, int depth, spry_error *error)
{
    for (int32_t n = 0; n < g->node_count; n++) {
        for (int32_t a = 0; a < g->nodes[n].attribute_count; a++) {
            const graph_attribute *attribute = &g->nodes[n].attributes[a];
            if (attribute->kind != GRAPH_ATTRIBUTE_GRAPH && attribute->kind != GRAPH_ATTRIBUTE_GRAPHS) continue;
            for (int64_t i = 0; i < attribute->count; i++) {
                spry_status status = resolve(attribute->as.graphs[i], depth + 1, error);
                if (status != SPRY_OK) return status;
            }
        }
    }
    return SPRY_OK;
}

spry_status prepare_graph(const model *m, const spry_session_options *options, arena *memory,
                          graph **prepared, spry_error *error)
{
    spry_status status = graph_copy(m->main, memory, NULL, prepared, error);

    (void)options;
    if (status == SPRY_OK) {
        status = resolve(*prepared, 0, error);
    }
    return status;
}

spry_status prepare_for_inputs(const graph *prepared, const value *const *inputs,
                               const spry_session_options *options, arena *memory,
                               graph **specialised, spry_error *error)
{
    (void)inputs; (void)options;
    return graph_copy(prepared, memory, NULL, specialised, error);
}
