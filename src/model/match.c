/* Matching of formulas. */
#include "model/match.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"

const graph_node *match_producer(const graph *g, int32_t id, const char *type)
{
    int32_t node = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = node != GRAPH_NONE ? &g->nodes[node] : NULL;

    return n != NULL && n->domain[0] == '\0' && n->input_count > 0 && strcmp(n->type, type) == 0
               ? n
               : NULL;
}

bool match_scalar(const graph *g, int32_t id, double *number)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    if (t == NULL || t->dtype != SPRY_DTYPE_F32 || t->rank > 1 || tensor_count(t) != 1) {
        return false;
    }
    *number = (double)*(const float *)t->data;
    return true;
}

bool match_near(double number, double wanted)
{
    return fabs(number - wanted) <= 1e-6 * fabs(wanted);
}

int32_t match_other(const graph_node *n, int32_t id)
{
    if (n->input_count != 2 || (n->inputs[0] != id && n->inputs[1] != id)) {
        return GRAPH_NONE;
    }
    return n->inputs[n->inputs[0] == id];
}

int32_t match_beside_scalar(const graph *g, const graph_node *n, double *number)
{
    if (n->input_count != 2) {
        return GRAPH_NONE;
    }
    if (match_scalar(g, n->inputs[1], number)) {
        return n->inputs[0];
    }
    return match_scalar(g, n->inputs[0], number) ? n->inputs[1] : GRAPH_NONE;
}

bool match_is_f32(const graph *g, int32_t id)
{
    const graph_type *type = id != GRAPH_NONE ? &g->values[id].type : NULL;

    return type != NULL && type->kind == GRAPH_TYPE_TENSOR && type->dtype == SPRY_DTYPE_F32 &&
           type->has_rank && type->rank > 0;
}

spry_status match_become(graph *g, int32_t id, const char *type, int32_t opset, int32_t count,
                         const int32_t *inputs, spry_error *error)
{
    graph_node *n = &g->nodes[id];
    int32_t *ports = arena_array(g->memory, (size_t)count, sizeof *ports);

    if (ports == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *ports);
    }
    memcpy(ports, inputs, (size_t)count * sizeof *ports);
    n->type = type;
    n->opset = n->opset > opset ? n->opset : opset;
    n->op = op_find("", type, n->opset);
    n->inputs = ports;
    n->input_count = count;
    n->attributes = NULL;
    n->attribute_count = 0;
    return SPRY_OK;
}
