/* Writing quantized activations into a graph. */
#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"
#include "ops/twin.h"
#include "quantize/format/qdq.h"

/* The reader of a value: what stands between it and its users. */
typedef struct reader {
    graph *g;
    const char *name; /* of the value */
    int32_t opset;
    int32_t node_count; /* before any of this was added */
    spry_error *error;
} reader;

/* A node with two or three inputs; *result is what it makes. */
static spry_status put(const reader *r, const char *type, const char *suffix,
                       const int32_t inputs[3], int32_t *node, int32_t *result)
{
    insert_node_of what = {.type = type,
                           .opset = r->opset,
                           .base = r->name,
                           .suffix = suffix,
                           .inputs = {inputs[0], inputs[1], inputs[2]},
                           .input_count = inputs[2] != GRAPH_NONE ? 3 : 2};

    return insert_node(r->g, &what, node, result, r->error);
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
        insert_constant(r->g, r->name, "low", SPRY_DTYPE_F32, 0, NULL, &low, &inputs[1], r->error);

    if (status == SPRY_OK) {
        status = insert_constant(r->g, r->name, "high", SPRY_DTYPE_F32, 0, NULL, &high, &inputs[2],
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
    return insert_constant(r->g, r->name, code < 0 ? "low" : "high", SPRY_DTYPE_F32,
                           rank - grid->axis, shape, numbers, ends, r->error);
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
    status = insert_constant(r->g, r->name, "scale", SPRY_DTYPE_F32, many, &count,
                             many ? grid->steps : &grid->step, &inputs[1], r->error);
    return status == SPRY_OK ? insert_constant(r->g, r->name, "zero_point", grid->dtype, many,
                                               &count, zeros, &inputs[2], r->error)
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
    insert_node_of what = {.type = TWIN_OP,
                           .domain = TWIN_DOMAIN,
                           .opset = 1,
                           .base = r->name,
                           .suffix = "twin",
                           .inputs = {id},
                           .input_count = 1};
    int32_t result;
    int32_t node;
    spry_status status = insert_node(g, &what, &node, &result, r->error);

    if (status == SPRY_OK) {
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
