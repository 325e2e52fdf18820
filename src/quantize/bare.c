/* Weights without a model: each becomes the layer that its shape suggests, and goes the way of all
 * weights; what is decided becomes tensors again. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/job.h"
#include "quantize/record.h"
#include "spry/tensor_file.h"
#include "tensor/tensor.h"

enum { OPSET = 21, IR_VERSION = 10, NAME_SIZE = 512, MOST_PARTS = 5 };

/* What is read, and what becomes of it. */
typedef struct bare {
    spry_allocator allocator;
    const char *path;
    spry_archive *archive; /* NULL: one tensor */
    spry_tensor *lone;
    int32_t count;
    model m; /* of layers that read these weights */
    model_opset opset;
    /* Of the result. */
    const char **names;
    const spry_tensor **tensors;
    spry_tensor **made; /* to be destroyed; as long as `tensors` */
    int32_t written, made_count;
} bare;

/* ---- reading ---- */

static bool has_extension(const char *path, const char *extension)
{
    size_t length = strlen(path);
    size_t end = strlen(extension);

    return length >= end && strcmp(path + length - end, extension) == 0;
}

bool spry_quantize_is_weights(const char *path)
{
    return has_extension(path, ".npy") || has_extension(path, ".npz") ||
           has_extension(path, ".safetensors");
}

static spry_status open_source(bare *b, spry_error *error)
{
    spry_status status;

    if (has_extension(b->path, ".npy")) {
        b->count = 1;
        return spry_tensor_load(&b->allocator, b->path, &b->lone, error);
    }
    status = spry_archive_open(&b->allocator, b->path, &b->archive, error);
    b->count = status == SPRY_OK ? spry_archive_count(b->archive) : 0;
    return status;
}

static const char *name_of(const bare *b, int32_t index)
{
    return b->archive != NULL ? spry_archive_name(b->archive, index) : "weight";
}

static spry_status tensor_of(const bare *b, int32_t index, const spry_tensor **t, spry_error *error)
{
    *t = b->lone;
    return b->archive != NULL ? spry_archive_tensor(b->archive, index, t, error) : SPRY_OK;
}

/* ---- a model of them ---- */

/* A matrix is [outputs][inputs] of a Gemm, more axes are [outputs][inputs][kernel..] of a Conv. */
static spry_status add_layer(bare *b, const spry_tensor *t, const char *name, spry_error *error)
{
    graph *g = b->m.main;
    bool is_matrix = t->rank == 2;
    int32_t weights = GRAPH_NONE;
    int32_t x = GRAPH_NONE;
    int32_t y = GRAPH_NONE;
    int32_t node = GRAPH_NONE;
    spry_status status = graph_add_constant(g, name, t, &weights, error);

    if (status == SPRY_OK) {
        status = graph_add_value(g, NULL, &x, error);
    }
    if (status == SPRY_OK) {
        status = graph_add_value(g, NULL, &y, error);
    }
    if (status == SPRY_OK) {
        status = graph_add_node(g, is_matrix ? "Gemm" : "Conv", "", OPSET, 2, 1, &node, error);
    }
    if (status == SPRY_OK && is_matrix) {
        status = graph_set_int(g, node, "transB", 1, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    g->nodes[node].name = g->values[weights].name;
    graph_set_input(g, node, 0, x);
    graph_set_input(g, node, 1, weights);
    graph_set_output(g, node, 0, y);
    g->values[x].type = (graph_type){
        .kind = GRAPH_TYPE_TENSOR, .dtype = SPRY_DTYPE_F32, .has_rank = true, .rank = t->rank};
    for (int i = 0; i < t->rank; i++) {
        g->values[x].type.dims[i].size = i == 1 ? t->shape[1] : -1;
    }
    g->values[x].is_input = true;
    g->values[y].is_output = true;
    g->inputs[g->input_count++] = x;
    g->outputs[g->output_count++] = y;
    return SPRY_OK;
}

static bool is_weight(const spry_tensor *t)
{
    return t->dtype == SPRY_DTYPE_F32 && t->rank >= 2 && tensor_count(t) > 0;
}

static spry_status make_model(bare *b, spry_error *error)
{
    size_t most = (size_t)b->count + 1;
    spry_status status;

    b->opset = (model_opset){"", OPSET};
    b->m = (model){.allocator = b->allocator,
                   .path = b->path,
                   .ir_version = IR_VERSION,
                   .producer_name = "",
                   .producer_version = "",
                   .domain = "",
                   .doc = "",
                   .opsets = &b->opset,
                   .opset_count = 1};
    arena_init(&b->m.memory, &b->allocator, SIZE_MAX);
    status = graph_create(&b->m.memory, NULL, &b->m.main, error);
    if (status != SPRY_OK) {
        return status;
    }
    b->m.main->inputs = arena_array(&b->m.memory, most, sizeof(int32_t));
    b->m.main->outputs = arena_array(&b->m.memory, most, sizeof(int32_t));
    b->names = arena_array(&b->m.memory, most * MOST_PARTS, sizeof(char *));
    b->tensors = arena_array(&b->m.memory, most * MOST_PARTS, sizeof(spry_tensor *));
    b->made = arena_array(&b->m.memory, most * MOST_PARTS, sizeof(spry_tensor *));
    if (b->m.main->inputs == NULL || b->m.main->outputs == NULL || b->names == NULL ||
        b->tensors == NULL || b->made == NULL) {
        return alloc_failed(error, most * sizeof(char *));
    }
    for (int32_t i = 0; status == SPRY_OK && i < b->count; i++) {
        const spry_tensor *t;

        status = tensor_of(b, i, &t, error);
        if (status == SPRY_OK && is_weight(t)) {
            status = add_layer(b, t, name_of(b, i), error);
        }
    }
    if (status == SPRY_OK && b->m.main->node_count == 0) {
        status = spry_fail(error, SPRY_UNSUPPORTED, b->path, NULL,
                           "there is no f32 tensor of two or more axes to quantize");
    }
    return status;
}

/* ---- what was decided, as tensors ---- */

/* A tensor "NAME.part", or "NAME", to be filled. */
static spry_status add_tensor(bare *b, const char *name, const char *part, spry_dtype dtype,
                              int rank, const int64_t *shape, void *filled, spry_error *error)
{
    char text[NAME_SIZE];
    spry_tensor *t = NULL;
    spry_status status = spry_tensor_create(&b->allocator, dtype, rank, shape, &t, error);

    if (status != SPRY_OK) {
        return status;
    }
    (void)snprintf(text, sizeof text, "%s%s", name, part);
    b->made[b->made_count++] = t;
    b->names[b->written] = arena_text(&b->m.memory, text, strlen(text));
    b->tensors[b->written] = t;
    *(void **)filled = t->data;
    return b->names[b->written++] != NULL ? SPRY_OK : alloc_failed(error, sizeof text);
}

/* Which block each channel belongs to. */
static spry_status add_map(bare *b, const char *name, const char *part, const int32_t *map,
                           int64_t block, int64_t channels, spry_error *error)
{
    int32_t *to;
    spry_status status =
        add_tensor(b, name, part, SPRY_DTYPE_I32, 1, &channels, (void *)&to, error);

    for (int64_t i = 0; status == SPRY_OK && i < channels; i++) {
        to[i] = map != NULL ? map[i] : (int32_t)(i / block);
    }
    return status;
}

static bool has_zeros(const weight_record *r)
{
    for (int64_t i = 0; i < record_blocks(r); i++) {
        if (record_zero(r, i) != 0.0f) {
            return true;
        }
    }
    return false;
}

static spry_status add_zeros(bare *b, const weight_record *r, const char *name, int rank,
                             const int64_t *shape, spry_error *error)
{
    bool is_real = r->real_zeros != NULL;
    void *to;
    spry_status status;

    if (!has_zeros(r)) {
        return SPRY_OK;
    }
    status = add_tensor(b, name, ".zero_point", is_real ? SPRY_DTYPE_F32 : SPRY_DTYPE_I32, rank,
                        shape, (void *)&to, error);
    if (status == SPRY_OK) {
        memcpy(to, is_real ? (const void *)r->real_zeros : r->zeros,
               (size_t)record_blocks(r) * sizeof(int32_t));
    }
    return status;
}

static spry_status add_record(bare *b, const weight_record *r, const char *name, spry_error *error)
{
    const int64_t blocks[] = {r->row_blocks, r->column_blocks};
    int rank = record_is_per_channel(r) ? 1 : 2;
    int8_t *codes;
    float *steps;
    spry_status status = add_tensor(b, name, "", SPRY_DTYPE_I8, r->w.source->rank,
                                    r->w.source->shape, (void *)&codes, error);

    if (status == SPRY_OK) {
        weight_scatter(&r->w, r->codes, codes);
        status = add_tensor(b, name, ".scale", SPRY_DTYPE_F32, rank, blocks, (void *)&steps, error);
    }
    if (status == SPRY_OK) {
        memcpy(steps, r->steps, (size_t)record_blocks(r) * sizeof *steps);
        status = add_zeros(b, r, name, rank, blocks, error);
    }
    if (status == SPRY_OK && rank == 2) {
        status = add_map(b, name, ".output_block", r->row_map, r->row_block, r->w.outputs, error);
    }
    if (status == SPRY_OK && rank == 2) {
        status =
            add_map(b, name, ".input_block", r->column_map, r->column_block, r->w.inputs, error);
    }
    return status;
}

static const weight_record *record_called(const quantize_job *job, const char *name)
{
    for (int32_t i = 0; i < job->weight_count; i++) {
        if (strcmp(job->m->main->values[job->weights[i].w.value].name, name) == 0) {
            return &job->weights[i];
        }
    }
    return NULL;
}

static spry_status write_result(bare *b, const quantize_job *job, const char *output,
                                spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < b->count; i++) {
        const weight_record *r = record_called(job, name_of(b, i));
        const spry_tensor *t;

        status = tensor_of(b, i, &t, error);
        if (status == SPRY_OK && r != NULL) {
            status = add_record(b, r, name_of(b, i), error);
        } else if (status == SPRY_OK) {
            b->names[b->written] = name_of(b, i);
            b->tensors[b->written++] = t;
        }
    }
    return status == SPRY_OK ? spry_archive_save(output, b->written, b->names, b->tensors, error)
                             : status;
}

/* ---- the whole ---- */

static spry_status check(const spry_quantize_options *o, const char *output, spry_error *error)
{
    bool is_prepared = o->prepare != NULL && o->prepare[0] != '\0';

    if (o->calibration != NULL || o->activation_bits != 0 || is_prepared || o->bias_correction) {
        return spry_fail(error, SPRY_USAGE, "weights",
                         "quantize the model that they belong to for that",
                         "weights alone read no samples and have no activations");
    }
    if (output != NULL && (!spry_quantize_is_weights(output) || has_extension(output, ".npy"))) {
        return spry_fail(error, SPRY_USAGE, output, "NAME.npz or NAME.safetensors",
                         "codes and scales are several tensors");
    }
    return SPRY_OK;
}

static void close_bare(bare *b)
{
    for (int32_t i = 0; i < b->made_count; i++) {
        spry_tensor_destroy(b->made[i]);
    }
    arena_fini(&b->m.memory);
    spry_archive_close(b->archive);
    spry_tensor_destroy(b->lone);
}

spry_status spry_quantize_weights(const char *path, const spry_quantize_options *options,
                                  const char *output, spry_quantization **facts, spry_error *error)
{
    bare b = {.allocator = alloc_resolve(NULL), .path = path};
    quantize_job job = {0};
    spry_status status = check(options, output, error);

    *facts = NULL;
    arena_init(&b.m.memory, &b.allocator, SIZE_MAX);
    if (status == SPRY_OK) {
        status = open_source(&b, error);
    }
    if (status == SPRY_OK) {
        status = make_model(&b, error);
    }
    if (status == SPRY_OK) {
        status = job_open(&job, &b.m, options, error);
    }
    if (status == SPRY_OK) {
        status = job_decide(&job, error);
    }
    if (status == SPRY_OK && output != NULL) {
        status = write_result(&b, &job, output, error);
    }
    if (status == SPRY_OK) {
        *facts = job.facts;
        job.facts = NULL;
    }
    job_close(&job);
    close_bare(&b);
    return status;
}
