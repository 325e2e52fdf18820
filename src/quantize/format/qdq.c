/* Writing quantized tensors into a graph. */
#include "quantize/format/qdq.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"

/* The grid's constants into ports 1 and 2. */
static spry_status add_grid(graph *g, const char *name, const qdq_codes *codes, int32_t inputs[3],
                            spry_error *error)
{
    size_t count = 1;
    int8_t *zeros;
    spry_status status;

    for (int i = 0; i < codes->grid_rank; i++) {
        count *= (size_t)codes->grid_shape[i];
    }
    status = insert_constant(g, name, "scale", SPRY_DTYPE_F32, codes->grid_rank, codes->grid_shape,
                             codes->steps, &inputs[1], error);
    if (status != SPRY_OK || codes->symmetric) {
        return status;
    }
    zeros = arena_bytes(g->memory, count);
    if (zeros == NULL) {
        return alloc_failed(error, count);
    }
    for (size_t i = 0; i < count; i++) {
        zeros[i] = (int8_t)codes->zeros[i];
    }
    return insert_codes(g, name, "zero_point", codes->dtype, codes->grid_rank, codes->grid_shape,
                        zeros, &inputs[2], error);
}

static spry_status add_linear(graph *g, const char *type, const char *name, const char *suffix,
                              int32_t opset, const int32_t inputs[3], int32_t *node,
                              int32_t *result, spry_error *error)
{
    insert_node_of what = {.type = type,
                           .opset = opset,
                           .base = name,
                           .suffix = suffix,
                           .inputs = {inputs[0], inputs[1], inputs[2]},
                           .input_count = 3};

    return insert_node(g, &what, node, result, error);
}

static spry_status add_weight_dequantize(graph *g, const char *name, const qdq_codes *codes,
                                         int32_t opset, const int32_t inputs[3], int32_t *result,
                                         spry_error *error)
{
    int32_t node;
    spry_status status =
        add_linear(g, "DequantizeLinear", name, "dequantized", opset, inputs, &node, result, error);

    if (status == SPRY_OK) {
        status = graph_set_int(g, node, "axis", codes->axis, error);
    }
    return status == SPRY_OK && codes->block > 0
               ? graph_set_int(g, node, "block_size", codes->block, error)
               : status;
}

spry_status qdq_replace_weight(graph *g, const weight *w, const qdq_codes *codes, int32_t opset,
                               spry_error *error)
{
    const char *name = g->values[w->value].name;
    int32_t inputs[3] = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE};
    int32_t node_count = g->node_count;
    spry_status status = insert_codes(g, name, "quantized", codes->dtype, w->source->rank,
                                      w->source->shape, codes->codes, &inputs[0], error);

    if (status == SPRY_OK) {
        status = add_grid(g, name, codes, inputs, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < node_count; i++) {
        const char *reason;
        weight other;
        int32_t result;

        if (!weight_of_node(g, i, &other, &reason) || other.value != w->value ||
            other.output_axis != w->output_axis) {
            continue;
        }
        status = add_weight_dequantize(g, name, codes, opset, inputs, &result, error);
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
    status = insert_constant(g, g->values[id].name, "quantized", SPRY_DTYPE_I32, 1, &channels,
                             codes, &inputs[0], error);
    if (status == SPRY_OK) {
        status = insert_constant(g, g->values[id].name, "scale", SPRY_DTYPE_F32, 1, &channels,
                                 products, &inputs[1], error);
    }
    if (status == SPRY_OK) {
        status = add_linear(g, "DequantizeLinear", g->values[id].name, "dequantized", opset, inputs,
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
