/* Writing quantized tensors into a graph. */
#include "quantize/qdq.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/twin.h"

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
    int count = inputs[2] != GRAPH_NONE ? 3 : 2;
    spry_status status = graph_add_node(g, type, "", opset, count, 1, node, error);

    (void)snprintf(name, sizeof name, "%s_%s", base, suffix);
    if (status == SPRY_OK) {
        status = graph_add_value(g, name, result, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < count; i++) {
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

/* ---- activations ---- */

/* The reader of a value: what stands between it and its users. */
typedef struct reader {
    graph *g;
    const char *name; /* of the value */
    int32_t opset;
    int32_t node_count; /* before any of this was added */
    spry_error *error;
} reader;

/* A node with one to three inputs; *result is what it makes. */
static spry_status put(const reader *r, const char *type, const char *suffix,
                       const int32_t inputs[3], int32_t *node, int32_t *result)
{
    return add_node(r->g, type, r->name, suffix, r->opset, inputs, node, result, r->error);
}

/* What is read instead of `id` so that no code leaves its bits: clamped to the ends of the grid,
 * which are values of it, so that nothing else changes. */
static spry_status clamp(const reader *r, const tensor_grid *grid, int32_t id, int32_t *clamped)
{
    grid_codes codes = tensor_grid_codes(grid);
    float low = grid_value(codes.low, grid->step, grid->zero);
    float high = grid_value(codes.high, grid->step, grid->zero);
    int32_t inputs[3] = {id};
    int32_t node;
    spry_status status =
        add_constant(r->g, r->name, "low", SPRY_DTYPE_F32, 0, NULL, &low, &inputs[1], r->error);

    if (status == SPRY_OK) {
        status = add_constant(r->g, r->name, "high", SPRY_DTYPE_F32, 0, NULL, &high, &inputs[2],
                              r->error);
    }
    return status == SPRY_OK ? put(r, "Clip", "clamped", inputs, &node, clamped) : status;
}

/* The ends of slices, shaped to be broadcast along their axis. */
static spry_status add_ends(const reader *r, const tensor_grid *grid, int32_t code, int rank,
                            int32_t *ends)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    float *numbers = arena_array(r->g->memory, (size_t)grid->step_count, sizeof *numbers);

    if (numbers == NULL) {
        return alloc_failed(r->error, (size_t)grid->step_count * sizeof *numbers);
    }
    for (int64_t i = 0; i < grid->step_count; i++) {
        numbers[i] = (float)code * grid->steps[i];
    }
    for (int i = 0; i < rank - grid->axis; i++) {
        shape[i] = i == 0 ? grid->step_count : 1;
    }
    return add_constant(r->g, r->name, code < 0 ? "low" : "high", SPRY_DTYPE_F32, rank - grid->axis,
                        shape, numbers, ends, r->error);
}

static spry_status clamp_slices(const reader *r, const tensor_grid *grid, int32_t id,
                                int32_t *clamped)
{
    grid_codes codes = tensor_grid_codes(grid);
    int rank = r->g->values[id].type.rank;
    int32_t inputs[3] = {id, GRAPH_NONE, GRAPH_NONE};
    int32_t node;
    spry_status status = add_ends(r, grid, codes.low, rank, &inputs[1]);

    if (status == SPRY_OK) {
        status = put(r, "Max", "clamped_low", inputs, &node, &inputs[0]);
    }
    if (status == SPRY_OK) {
        status = add_ends(r, grid, codes.high, rank, &inputs[1]);
    }
    return status == SPRY_OK ? put(r, "Min", "clamped", inputs, &node, clamped) : status;
}

/* Step and zero point as constants; the latter also says the type. */
static spry_status add_grid(const reader *r, const tensor_grid *grid, int32_t inputs[3])
{
    bool many = grid->steps != NULL;
    int64_t count = many ? grid->step_count : 1;
    int8_t *zeros = arena_array(r->g->memory, (size_t)count, sizeof *zeros);
    spry_status status;

    if (zeros == NULL) {
        return alloc_failed(r->error, (size_t)count);
    }
    memset(zeros, (uint8_t)grid->zero, (size_t)count); /* the byte, of either type */
    status = add_constant(r->g, r->name, "scale", SPRY_DTYPE_F32, many, &count,
                          many ? grid->steps : &grid->step, &inputs[1], r->error);
    return status == SPRY_OK ? add_constant(r->g, r->name, "zero_point", grid->dtype, many, &count,
                                            zeros, &inputs[2], r->error)
                             : status;
}

/* DequantizeLinear nodes for every user, each of its own, as runtimes expect. */
static spry_status dequantize_for_users(const reader *r, const tensor_grid *grid, int32_t id,
                                        const int32_t inputs[3])
{
    graph *g = r->g;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < r->node_count; i++) {
        for (int32_t port = 0; status == SPRY_OK && port < g->nodes[i].input_count; port++) {
            int32_t node;
            int32_t result;

            if (g->nodes[i].removed || g->nodes[i].inputs[port] != id) {
                continue;
            }
            status = put(r, "DequantizeLinear", "dequantized", inputs, &node, &result);
            if (status == SPRY_OK && grid->steps != NULL) {
                status = graph_set_int(g, node, "axis", grid->axis, r->error);
            }
            if (status == SPRY_OK) {
                graph_set_input(g, i, port, result);
            }
        }
    }
    return status;
}

static spry_status replace_uniform(const reader *r, int32_t id, const tensor_grid *grid)
{
    int32_t inputs[3] = {id};
    int32_t codes = GRAPH_NONE;
    int32_t node = GRAPH_NONE;
    bool is_narrow = grid->bits != 0 && grid->bits < GRID_MOST_BITS;
    spry_status status = SPRY_OK;

    if (is_narrow) {
        status = grid->steps != NULL ? clamp_slices(r, grid, id, &inputs[0])
                                     : clamp(r, grid, id, &inputs[0]);
    }
    if (status == SPRY_OK) {
        status = add_grid(r, grid, inputs);
    }
    if (status == SPRY_OK) {
        status = put(r, "QuantizeLinear", "quantized", inputs, &node, &codes);
    }
    if (status == SPRY_OK && grid->steps != NULL) {
        status = graph_set_int(r->g, node, "axis", grid->axis, r->error);
    }
    inputs[0] = codes;
    return status == SPRY_OK ? dequantize_for_users(r, grid, id, inputs) : status;
}

/* A TwinQuantize that all users share. */
static spry_status replace_twin(const reader *r, int32_t id, const twin_grid *twin)
{
    graph *g = r->g;
    int32_t result;
    int32_t node;
    spry_status status = graph_add_node(g, TWIN_OP, TWIN_DOMAIN, 1, 1, 1, &node, r->error);

    if (status == SPRY_OK) {
        char name[NAME_SIZE];

        (void)snprintf(name, sizeof name, "%s_twin", r->name);
        status = graph_add_value(g, name, &result, r->error);
        g->nodes[node].name = graph_text(g, name);
    }
    if (status == SPRY_OK) {
        graph_set_input(g, node, 0, id);
        graph_set_output(g, node, 0, result);
        status = graph_set_int(g, node, TWIN_KIND, twin->kind, r->error);
    }
    if (status == SPRY_OK) {
        status = graph_set_int(g, node, TWIN_BITS, twin->bits, r->error);
    }
    if (status == SPRY_OK) {
        status = graph_set_float(g, node, TWIN_D1, twin->d1, r->error);
    }
    if (status == SPRY_OK) {
        status = graph_set_float(g, node, TWIN_D2, twin->d2, r->error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < r->node_count; i++) {
        for (int32_t port = 0; !g->nodes[i].removed && port < g->nodes[i].input_count; port++) {
            if (g->nodes[i].inputs[port] == id) {
                graph_set_input(g, i, port, result);
            }
        }
    }
    return status;
}

spry_status qdq_replace_activation(graph *g, int32_t id, const tensor_grid *grid, int32_t opset,
                                   spry_error *error)
{
    const reader r = {g, g->values[id].name, opset, g->node_count, error};

    return grid->twin != NULL ? replace_twin(&r, id, grid->twin) : replace_uniform(&r, id, grid);
}
