/* Biases as inputs of layers and as sums behind them. */
#include "quantize/prepare/bias.h"

#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"

enum { BIAS_PORT = 2 };

static bool is_product(const graph_node *n)
{
    return strcmp(n->type, "MatMul") == 0;
}

/* One number per output, in the last dimension. */
static const tensor *numbers_per_output(const graph *g, int32_t id, int64_t outputs)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank == 1 && t->shape[0] == outputs ? t
                                                                                             : NULL;
}

/* The Add that alone reads the result of `node`, or GRAPH_NONE. */
static int32_t sum_behind(const graph *g, const graph_uses *uses, int32_t node)
{
    int32_t result = g->nodes[node].outputs[0];
    int32_t first = uses->offsets[result];
    int32_t user = uses->offsets[result + 1] - first == 1 ? uses->users[first] : GRAPH_NONE;

    return user != GRAPH_NONE && !g->values[result].is_output && g->nodes[user].domain[0] == '\0' &&
                   strcmp(g->nodes[user].type, "Add") == 0
               ? user
               : GRAPH_NONE;
}

const tensor *bias_of(const graph *g, const graph_uses *uses, int32_t node, int64_t outputs,
                      int32_t *holder, int32_t *port)
{
    const graph_node *n = &g->nodes[node];

    *holder = node;
    *port = BIAS_PORT;
    if (!is_product(n)) {
        return n->input_count > BIAS_PORT ? numbers_per_output(g, n->inputs[BIAS_PORT], outputs)
                                          : NULL;
    }
    *holder = sum_behind(g, uses, node);
    for (*port = 0; *holder != GRAPH_NONE && *port < 2; (*port)++) {
        const tensor *t = numbers_per_output(g, g->nodes[*holder].inputs[*port], outputs);

        if (t != NULL) {
            return t;
        }
    }
    return NULL;
}

int32_t bias_result(const graph *g, const graph_uses *uses, int32_t node, int64_t outputs)
{
    int32_t holder;
    int32_t port;

    return bias_of(g, uses, node, outputs, &holder, &port) != NULL ? g->nodes[holder].outputs[0]
                                                                   : g->nodes[node].outputs[0];
}

/* An Add takes over the name and the users of the product's result. */
static spry_status add_behind(graph *g, int32_t node, int32_t bias, spry_error *error)
{
    int32_t result = g->nodes[node].outputs[0];
    const char *base =
        g->nodes[node].name[0] != '\0' ? g->nodes[node].name : g->values[result].name;
    insert_node_of add = {.type = "Add",
                          .opset = g->nodes[node].opset,
                          .base = base,
                          .suffix = "corrected",
                          .inputs = {GRAPH_NONE, bias},
                          .input_count = 2};
    int32_t made;
    int32_t sum;
    spry_status status = insert_node(g, &add, &made, &sum, error);

    if (status == SPRY_OK) { /* the new value becomes the product, the old one the sum */
        g->values[sum].type = g->values[result].type;
        graph_set_output(g, node, 0, sum);
        graph_set_output(g, made, 0, result);
        graph_set_input(g, made, 0, sum);
    }
    return status;
}

/* The operator adds what it reads, and either nothing is there or a number per output. */
static bool has_bias_port(const graph_node *n, const tensor *old)
{
    return !is_product(n) &&
           (old != NULL || n->input_count <= BIAS_PORT || n->inputs[BIAS_PORT] == GRAPH_NONE);
}

spry_status bias_add(graph *g, const graph_uses *uses, int32_t node, int64_t outputs,
                     const double *delta, spry_error *error)
{
    int32_t holder;
    int32_t port;
    const tensor *old = bias_of(g, uses, node, outputs, &holder, &port);
    const char *base = g->nodes[node].name[0] != '\0' ? g->nodes[node].name
                                                      : g->values[g->nodes[node].outputs[0]].name;
    size_t bytes = (size_t)outputs * sizeof(float);
    float *sum = alloc_bytes(&g->memory->allocator, bytes);
    double share = (double)graph_attribute_float(&g->nodes[node], "beta", 1.0f); /* of Gemm */
    bool is_input = has_bias_port(&g->nodes[node], old) && share != 0.0;
    int32_t value = GRAPH_NONE;
    spry_status status;

    share = is_input ? share : 1.0;
    if (sum == NULL) {
        return alloc_failed(error, bytes);
    }
    for (int64_t i = 0; i < outputs; i++) {
        sum[i] =
            (float)((old != NULL ? (double)((const float *)old->data)[i] : 0.0) + delta[i] / share);
    }
    status = insert_constant(g, base, "bias", SPRY_DTYPE_F32, 1, &outputs, sum, &value, error);
    alloc_release(&g->memory->allocator, sum, bytes);
    if (status != SPRY_OK) {
        return status;
    }
    if (old != NULL) {
        graph_set_input(g, holder, port, value);
        return SPRY_OK;
    }
    return is_input ? insert_input(g, node, BIAS_PORT, value, error)
                    : add_behind(g, node, value, error);
}
