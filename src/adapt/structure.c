/* Linear operators and the head; blocks are structure_blocks.c's. */
#include "adapt/structure.h"

#include <string.h>

#include "adapt/structure_blocks.h"
#include "base/alloc.h"
#include "model/match.h"
#include "runtime/chain.h"

int32_t structure_input(const graph_node *n, int32_t port)
{
    return chain_input(n, port);
}

bool structure_is_vector(const graph *g, int32_t id, int64_t count)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;
    int long_axes = 0;

    if (t == NULL || t->dtype != SPRY_DTYPE_F32 || tensor_count(t) != count) {
        return false;
    }
    for (int i = 0; i < t->rank; i++) {
        long_axes += t->shape[i] > 1;
    }
    return long_axes <= 1;
}

int32_t structure_linear_of(const structure *found, int32_t id)
{
    return id != GRAPH_NONE ? found->by_value[id] - 1 : GRAPH_NONE;
}

/* ---- linear operators ---- */

static const tensor *weights_at(const graph *g, const graph_node *n, int32_t port)
{
    int32_t id = structure_input(n, port);
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank >= 2 && tensor_count(t) > 0 ? t
                                                                                          : NULL;
}

static bool read_matmul(const graph *g, const graph_node *n, structure_linear *l)
{
    const tensor *w = weights_at(g, n, 1);

    if (!graph_node_is(n, "MatMul") || w == NULL || w->rank != 2 ||
        graph_constant(g, n->inputs[0]) != NULL) {
        return false;
    }
    l->inputs = w->shape[0];
    l->outputs = w->shape[1];
    l->is_plain = true;
    return true;
}

static bool read_gemm(const graph *g, const graph_node *n, structure_linear *l)
{
    const tensor *w = weights_at(g, n, 1);

    if (!graph_node_is(n, "Gemm") || w == NULL || w->rank != 2) {
        return false;
    }
    l->is_transposed = graph_attribute_int(n, "transB", 0) != 0;
    l->inputs = w->shape[l->is_transposed];
    l->outputs = w->shape[!l->is_transposed];
    l->bias = structure_input(n, 2);
    l->is_plain = graph_attribute_int(n, "transA", 0) == 0 &&
                  match_near(graph_attribute_float(n, "alpha", 1.0f), 1.0) &&
                  match_near(graph_attribute_float(n, "beta", 1.0f), 1.0);
    return true;
}

static bool read_conv(const graph *g, const graph_node *n, structure_linear *l)
{
    const tensor *w = weights_at(g, n, 1);

    if (!graph_node_is(n, "Conv") || w == NULL || w->rank < 3) {
        return false;
    }
    l->outputs = w->shape[0];
    l->inputs = tensor_count(w) / w->shape[0];
    l->bias = structure_input(n, 2);
    l->is_conv = true;
    l->is_plain = graph_attribute_int(n, "group", 1) == 1;
    return true;
}

/* The vector that is added to the product, and nothing but the product is needed for it. */
static void take_bias(const graph *g, const graph_uses *uses, structure_linear *l)
{
    int32_t user = chain_only_user(g, uses, l->product);
    const graph_node *n = user != GRAPH_NONE ? &g->nodes[user] : NULL;
    int32_t other = n != NULL && graph_node_is(n, "Add") ? match_other(n, l->product) : GRAPH_NONE;

    if (l->bias == GRAPH_NONE && !l->is_conv && structure_is_vector(g, other, l->outputs)) {
        l->bias = other;
        l->output = n->outputs[0];
    }
}

static spry_status find_linears(const graph *g, const graph_uses *uses, arena *memory,
                                structure *found, spry_error *error)
{
    found->linears = arena_array(memory, (size_t)g->node_count + 1, sizeof *found->linears);
    found->by_value = arena_array(memory, (size_t)g->value_count + 1, sizeof *found->by_value);
    if (found->linears == NULL || found->by_value == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *found->linears);
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        structure_linear l = {.bias = GRAPH_NONE};

        if (n->removed || !(read_matmul(g, n, &l) || read_gemm(g, n, &l) || read_conv(g, n, &l))) {
            continue;
        }
        l.input = n->inputs[0];
        l.weight = n->inputs[1];
        l.product = l.output = n->outputs[0];
        take_bias(g, uses, &l);
        found->linears[found->linear_count++] = l;
        found->by_value[l.product] = found->linear_count;
        found->by_value[l.output] = found->linear_count;
    }
    return SPRY_OK;
}

/* ---- the head ---- */

/* May come between the classifier and the output: keeps or summarises what it is given. */
static bool follows_head(const graph_node *n)
{
    static const char *const types[] = {
        "Softmax", "LogSoftmax", "Sigmoid",   "Identity",          "Reshape",
        "Flatten", "Squeeze",    "Unsqueeze", "Transpose",         "ReduceMean",
        "Relu",    "Cast",       "Split",     "GlobalAveragePool", "AveragePool",
        "Dropout", "Slice",      "Tanh",      "HardSwish",         "Clip",
        "Gather"};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (graph_node_is(n, types[i])) {
            return true;
        }
    }
    return false;
}

static int32_t find_head(const graph *g, const structure *found)
{
    int32_t id = g->output_count > 0 ? g->outputs[0] : GRAPH_NONE;

    for (int32_t steps = 0; id != GRAPH_NONE && steps < g->node_count; steps++) {
        int32_t linear = structure_linear_of(found, id);
        int32_t producer = g->values[id].producer;

        if (linear != GRAPH_NONE) {
            return linear;
        }
        if (producer == GRAPH_NONE || !follows_head(&g->nodes[producer])) {
            return GRAPH_NONE;
        }
        id = g->nodes[producer].inputs[0];
    }
    return GRAPH_NONE;
}

spry_status structure_find(const graph *g, const graph_uses *uses, arena *memory, structure *found,
                           spry_error *error)
{
    spry_status status;

    *found = (structure){.head = GRAPH_NONE};
    status = find_linears(g, uses, memory, found, error);
    if (status != SPRY_OK) {
        return status;
    }
    found->head = find_head(g, found);
    return structure_find_blocks(g, uses, memory, found, error);
}
