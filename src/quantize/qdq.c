/* Writing quantized tensors into a graph. */
#include "quantize/qdq.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { NAME_SIZE = 512 };

/* A constant with a copy of `data`, called BASE_SUFFIX or something like it. */
static spry_status add_constant(graph *g, const char *base, const char *suffix, spry_dtype dtype,
                                int rank, const int64_t *shape, const void *data, int32_t *value,
                                spry_error *error)
{
    char name[NAME_SIZE];
    tensor *t = arena_zeroed(g->memory, sizeof *t);
    spry_status status;

    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    status = tensor_init(t, dtype, rank, shape, NULL, error);
    if (status != SPRY_OK) {
        return status;
    }
    t->data = arena_bytes(g->memory, t->bytes != 0 ? t->bytes : 1);
    if (t->data == NULL) {
        return alloc_failed(error, t->bytes);
    }
    memcpy(t->data, data, t->bytes);
    (void)snprintf(name, sizeof name, "%s_%s", base, suffix);
    return graph_add_constant(g, name, t, value, error);
}

static spry_status add_node(graph *g, const char *type, const char *base, const char *suffix,
                            int32_t opset, const int32_t inputs[3], int32_t *node, int32_t *result,
                            spry_error *error)
{
    char name[NAME_SIZE];
    spry_status status = graph_add_node(g, type, "", opset, 3, 1, node, error);

    (void)snprintf(name, sizeof name, "%s_%s", base, suffix);
    if (status == SPRY_OK) {
        status = graph_add_value(g, name, result, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < 3; i++) {
        graph_set_input(g, *node, i, inputs[i]);
    }
    graph_set_output(g, *node, 0, *result);
    g->nodes[*node].name = graph_text(g, name);
    return g->nodes[*node].name != NULL ? SPRY_OK : alloc_failed(error, strlen(name));
}

static spry_status copy_zeros(graph *g, const weight *w, const qdq_codes *codes, int32_t *value,
                              spry_error *error)
{
    int8_t *zeros;
    spry_status status;

    *value = GRAPH_NONE;
    if (codes->symmetric) {
        return SPRY_OK;
    }
    zeros = arena_bytes(g->memory, (size_t)w->outputs);
    if (zeros == NULL) {
        return alloc_failed(error, (size_t)w->outputs);
    }
    for (int64_t i = 0; i < w->outputs; i++) {
        zeros[i] = (int8_t)codes->zeros[i];
    }
    status = add_constant(g, g->values[w->value].name, "zero_point", SPRY_DTYPE_I8, 1, &w->outputs,
                          zeros, value, error);
    return status;
}

spry_status qdq_replace_weight(graph *g, const weight *w, const qdq_codes *codes, int32_t opset,
                               spry_error *error)
{
    const char *name = g->values[w->value].name;
    int32_t inputs[3];
    int32_t node_count = g->node_count;
    spry_status status = add_constant(g, name, "quantized", SPRY_DTYPE_I8, w->source->rank,
                                      w->source->shape, codes->codes, &inputs[0], error);

    if (status == SPRY_OK) {
        status = add_constant(g, name, "scale", SPRY_DTYPE_F32, 1, &w->outputs, codes->steps,
                              &inputs[1], error);
    }
    if (status == SPRY_OK) {
        status = copy_zeros(g, w, codes, &inputs[2], error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < node_count; i++) {
        const char *reason;
        weight other;
        int32_t node;
        int32_t result;

        if (!weight_of_node(g, i, &other, &reason) || other.value != w->value ||
            other.output_axis != w->output_axis) {
            continue;
        }
        status = add_node(g, "DequantizeLinear", name, "dequantized", opset, inputs, &node, &result,
                          error);
        if (status == SPRY_OK) {
            status = graph_set_int(g, node, "axis", w->output_axis, error);
        }
        if (status == SPRY_OK) {
            graph_set_input(g, i, WEIGHTS_PORT, result);
        }
    }
    return status;
}

/* False when a code leaves 32 bits, with room for the products that are added to it. */
static bool round_bias(const float *bias, float step, const float *steps, int64_t channels,
                       int32_t *codes, float *products)
{
    for (int64_t i = 0; i < channels; i++) {
        double code;

        products[i] = step * steps[i];
        code = rint((double)bias[i] / (double)products[i]);
        if (!(fabs(code) < (double)(INT32_MAX / 2))) {
            return false;
        }
        codes[i] = (int32_t)code;
    }
    return true;
}

spry_status qdq_replace_bias(graph *g, int32_t node, float step, const float *steps,
                             int64_t channels, int32_t opset, spry_error *error)
{
    enum { BIAS_PORT = 2 };
    const graph_node *n = &g->nodes[node];
    int32_t id = n->input_count > BIAS_PORT ? n->inputs[BIAS_PORT] : GRAPH_NONE;
    const tensor *bias = id != GRAPH_NONE ? graph_constant(g, id) : NULL;
    int32_t inputs[3] = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE};
    int32_t *codes;
    float *products;
    int32_t made;
    int32_t result;
    spry_status status;

    if (bias == NULL || bias->dtype != SPRY_DTYPE_F32 || bias->rank != 1 ||
        bias->shape[0] != channels || graph_attribute_float(n, "alpha", 1.0f) != 1.0f ||
        graph_attribute_float(n, "beta", 1.0f) != 1.0f) {
        return SPRY_OK;
    }
    codes = arena_array(g->memory, (size_t)channels, sizeof *codes);
    products = arena_array(g->memory, (size_t)channels, sizeof *products);
    if (codes == NULL || products == NULL) {
        return alloc_failed(error, (size_t)channels * sizeof *codes);
    }
    if (!round_bias(bias->data, step, steps, channels, codes, products)) {
        return SPRY_OK;
    }
    status = add_constant(g, g->values[id].name, "quantized", SPRY_DTYPE_I32, 1, &channels, codes,
                          &inputs[0], error);
    if (status == SPRY_OK) {
        status = add_constant(g, g->values[id].name, "scale", SPRY_DTYPE_F32, 1, &channels,
                              products, &inputs[1], error);
    }
    if (status == SPRY_OK) {
        status = add_node(g, "DequantizeLinear", g->values[id].name, "dequantized", opset, inputs,
                          &made, &result, error);
    }
    if (status == SPRY_OK) {
        status = graph_set_int(g, made, "axis", 0, error);
    }
    if (status == SPRY_OK) {
        graph_set_input(g, node, BIAS_PORT, result);
    }
    return status;
}

spry_status qdq_replace_activation(graph *g, int32_t id, const tensor_grid *grid, int32_t opset,
                                   spry_error *error)
{
    const char *name = g->values[id].name;
    int8_t zero = (int8_t)(uint8_t)grid->zero; /* the byte, of either type */
    int32_t node_count = g->node_count;
    int32_t inputs[3] = {id};
    int32_t node;
    int32_t codes = GRAPH_NONE;
    spry_status status =
        add_constant(g, name, "scale", SPRY_DTYPE_F32, 0, NULL, &grid->step, &inputs[1], error);

    if (status == SPRY_OK) {
        status =
            add_constant(g, name, "zero_point", grid->dtype, 0, NULL, &zero, &inputs[2], error);
    }
    if (status == SPRY_OK) {
        status =
            add_node(g, "QuantizeLinear", name, "quantized", opset, inputs, &node, &codes, error);
    }
    inputs[0] = codes;
    for (int32_t i = 0; status == SPRY_OK && i < node_count; i++) {
        for (int32_t port = 0; status == SPRY_OK && port < g->nodes[i].input_count; port++) {
            int32_t result;

            if (g->nodes[i].removed || g->nodes[i].inputs[port] != id) {
                continue;
            }
            status = add_node(g, "DequantizeLinear", name, "dequantized", opset, inputs, &node,
                              &result, error);
            if (status == SPRY_OK) {
                graph_set_input(g, i, port, result);
            }
        }
    }
    return status;
}
