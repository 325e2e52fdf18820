/* Writing blocks. */
#include "quantize/format/format_blocks.h"

#include "base/alloc.h"
#include "model/insert.h"
#include "quantize/format/qdq.h"
#include "quantize/method/blocks.h"

/* The constants that all users of a weight share, and how they are put together. */
typedef struct blocks_file {
    graph *g;
    int32_t opset;
    const char *name; /* of the weight */
    const weight_record *r;
    bool is_matrix;
    bool meets_codes;
    int k_axis;    /* of the matrix that is stored */
    int64_t block; /* elements along it */
    int32_t codes, steps;
    int32_t shape;   /* of Reshape, or GRAPH_NONE */
    int32_t indices; /* of Gather, or GRAPH_NONE */
} blocks_file;

void format_blocks_output_grid(const weight_record *r, float *steps, int32_t *zeros)
{
    for (int64_t m = 0; m < r->w.outputs; m++) {
        steps[m] = r->steps[record_block(r, m, 0)];
        zeros[m] = r->zeros[record_block(r, m, 0)];
    }
}

/* Codes in the order of blocks and their steps, as the stored matrix has them. */
static void fill(const blocks_file *f, const int32_t *order, int8_t *codes, float *steps)
{
    const weight_record *r = f->r;
    int64_t taps = r->w.taps;
    int64_t outputs = r->w.outputs;
    int64_t length = r->w.inputs * taps;
    int64_t across = r->column_blocks;

    for (int64_t m = 0; m < outputs; m++) {
        for (int64_t i = 0; i < length; i++) {
            int64_t from = (m * r->w.inputs + order[i / taps]) * taps + i % taps;

            codes[f->k_axis == 1 ? m * length + i : i * outputs + m] = r->codes[from];
        }
        for (int64_t h = 0; h < across; h++) {
            int64_t block = record_block(r, m, order[h * r->column_block]);

            steps[f->k_axis == 1 ? m * across + h : h * outputs + m] = r->steps[block];
        }
    }
}

static spry_status add_arrays(blocks_file *f, const int32_t *order, spry_dtype dtype,
                              spry_error *error)
{
    const weight_record *r = f->r;
    int64_t across = f->k_axis == 1 ? r->w.inputs * r->w.taps : r->w.outputs;
    int64_t shape[2] = {weight_count(&r->w) / across, across};
    int64_t grid[2] = {r->w.outputs, r->w.outputs};
    int8_t *codes = arena_bytes(f->g->memory, (size_t)weight_count(&r->w));
    float *steps =
        arena_array(f->g->memory, (size_t)(r->w.outputs * r->column_blocks), sizeof *steps);
    spry_status status;

    if (codes == NULL || steps == NULL) {
        return alloc_failed(error, (size_t)weight_count(&r->w));
    }
    grid[f->k_axis] = r->column_blocks;
    fill(f, order, codes, steps);
    status = insert_codes(f->g, f->name, "quantized", dtype, 2, shape, codes, &f->codes, error);
    return status == SPRY_OK ? insert_constant(f->g, f->name, "scale", SPRY_DTYPE_F32, 2, grid,
                                               steps, &f->steps, error)
                             : status;
}

/* Outputs first, as convolutions have them. The stored shape of a matrix: see add_constants. */
static spry_status add_shape(blocks_file *f, spry_error *error)
{
    const weight *w = &f->r->w;
    int64_t shape[SPRY_TENSOR_MAX_RANK] = {w->outputs, w->inputs};
    int64_t rank = w->source->rank;

    for (int i = f->is_matrix ? 0 : 2; i < rank; i++) {
        shape[i] = w->source->shape[i];
    }
    return insert_constant(f->g, f->name, "shape", SPRY_DTYPE_I64, 1, &rank, shape, &f->shape,
                           error);
}

static spry_status add_indices(blocks_file *f, const int32_t *order, spry_error *error)
{
    int64_t count = f->r->w.inputs;
    int64_t *places = arena_array(f->g->memory, (size_t)count, sizeof *places);

    if (places == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *places);
    }
    for (int64_t place = 0; place < count; place++) {
        places[order[place]] = place;
    }
    return insert_constant(f->g, f->name, "places", SPRY_DTYPE_I64, 1, &count, places, &f->indices,
                           error);
}

/* A matrix beside codes gets a Reshape to the shape that it has: ONNX Runtime (1.30) makes a MatMul
 * right behind two DequantizeLinear a MatMulIntegerToFloat, which knows no blocks, and fails. */
static spry_status add_constants(blocks_file *f, spry_dtype dtype, spry_error *error)
{
    int64_t inputs = f->r->w.inputs;
    int32_t *order = arena_array(f->g->memory, (size_t)inputs, sizeof *order);
    spry_status status;

    if (order == NULL) {
        return alloc_failed(error, (size_t)inputs * sizeof *order);
    }
    blocks_order(f->r->column_map, inputs, f->r->column_blocks, order);
    status = add_arrays(f, order, dtype, error);
    if (status == SPRY_OK && (!f->is_matrix || f->meets_codes)) {
        status = add_shape(f, error);
    }
    if (status == SPRY_OK && f->r->column_map != NULL) {
        status = add_indices(f, order, error);
    }
    return status;
}

/* ---- nodes of one user ---- */

static spry_status add_step(const blocks_file *f, const char *type, const char *suffix,
                            int32_t second, int32_t third, int32_t *node, int32_t *value,
                            spry_error *error)
{
    insert_node_of what = {.type = type,
                           .opset = f->opset,
                           .base = f->name,
                           .suffix = suffix,
                           .inputs = {*value, second, third},
                           .input_count = third != GRAPH_NONE    ? 3
                                          : second != GRAPH_NONE ? 2
                                                                 : 1};

    return insert_node(f->g, &what, node, value, error);
}

static spry_status add_reorder(const blocks_file *f, int32_t *value, spry_error *error)
{
    int64_t axes[SPRY_TENSOR_MAX_RANK] = {1, 0};
    int32_t node;
    spry_status status = SPRY_OK;

    if (f->indices != GRAPH_NONE) {
        status = add_step(f, "Gather", "in_order", f->indices, GRAPH_NONE, &node, value, error);
        if (status == SPRY_OK) {
            status = graph_set_int(f->g, node, "axis", f->is_matrix ? f->k_axis : 1, error);
        }
    }
    if (status == SPRY_OK && !f->is_matrix && f->r->w.output_axis == 1) {
        for (int i = 2; i < f->r->w.source->rank; i++) {
            axes[i] = i;
        }
        status = add_step(f, "Transpose", "turned", GRAPH_NONE, GRAPH_NONE, &node, value, error);
        if (status == SPRY_OK) {
            status = graph_set_ints(f->g, node, "perm", f->r->w.source->rank, axes, error);
        }
    }
    return status;
}

static spry_status add_nodes(const blocks_file *f, int32_t user, spry_error *error)
{
    int32_t value = f->codes;
    int32_t node;
    spry_status status =
        add_step(f, "DequantizeLinear", "dequantized", f->steps, GRAPH_NONE, &node, &value, error);

    if (status == SPRY_OK) {
        status = graph_set_int(f->g, node, "axis", f->k_axis, error);
    }
    if (status == SPRY_OK) {
        status = graph_set_int(f->g, node, "block_size", f->block, error);
    }
    if (status == SPRY_OK && f->shape != GRAPH_NONE) {
        status = add_step(f, "Reshape", "shaped", f->shape, GRAPH_NONE, &node, &value, error);
    }
    if (status == SPRY_OK) {
        status = add_reorder(f, &value, error);
    }
    if (status == SPRY_OK) {
        graph_set_input(f->g, user, WEIGHTS_PORT, value);
    }
    return status;
}

spry_status format_blocks_write(quantize_job *job, const weight_record *r, spry_dtype dtype,
                                bool meets_codes, spry_error *error)
{
    graph *g = job->m->main;
    bool is_matrix = weight_is_matrix(&r->w);
    blocks_file f = {.g = g,
                     .opset = job->opset,
                     .name = g->values[r->w.value].name,
                     .r = r,
                     .is_matrix = is_matrix,
                     .meets_codes = meets_codes,
                     .k_axis = is_matrix ? 1 - r->w.output_axis : 1,
                     .block = r->column_block * r->w.taps,
                     .shape = GRAPH_NONE,
                     .indices = GRAPH_NONE};
    spry_status status = add_constants(&f, dtype, error);

    for (int32_t i = 0; status == SPRY_OK && i < r->user_count; i++) {
        status = add_nodes(&f, r->users[i], error);
    }
    return status;
}
