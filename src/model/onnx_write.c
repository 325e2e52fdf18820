/* ModelProto and FunctionProto, written; large weights go to a file of their own. */
#include "model/onnx_write.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/onnx_emit.h"
#include "model/weights.h"

static void emit_opset(wire_writer *w, const void *context)
{
    const model_opset *opset = context;

    wire_write_name(w, 1, opset->domain);
    wire_write_integer(w, 2, (uint64_t)opset->version);
}

static void emit_metadata(wire_writer *w, const void *context)
{
    const model_metadata *entry = context;

    wire_write_name(w, 1, entry->key);
    wire_write_name(w, 2, entry->text);
}

typedef struct function_out {
    onnx_emitter *e;
    const model_function *f;
} function_out;

static void emit_function(wire_writer *w, const void *context)
{
    const function_out *out = context;
    const model_function *f = out->f;
    const onnx_graph body = {out->e, f->body};

    wire_write_name(w, 1, f->name);
    for (int32_t i = 0; i < f->body->input_count; i++) {
        wire_write_name(w, 4, onnx_emit_value_name(&body, f->body->inputs[i]));
    }
    for (int32_t i = 0; i < f->body->output_count; i++) {
        wire_write_name(w, 5, onnx_emit_value_name(&body, f->body->outputs[i]));
    }
    for (int32_t i = 0; i < f->attribute_count; i++) {
        wire_write_name(w, 6, f->attributes[i]);
    }
    onnx_emit_nodes(w, &body, 7);
    wire_write_text(w, 8, f->doc);
    for (int32_t i = 0; i < f->opset_count; i++) {
        wire_write_message(w, 9, emit_opset, &f->opsets[i]);
    }
    wire_write_name(w, 10, f->domain);
    for (int32_t i = 0; i < f->default_count; i++) {
        onnx_emit_attribute(w, 11, &body, &f->defaults[i]);
    }
    onnx_emit_value_infos(w, &body, 12);
    wire_write_text(w, 13, f->overload);
    wire_write_kept(w, f->unknown);
}

static void emit_model(wire_writer *w, onnx_emitter *e)
{
    const model *m = e->m;
    const onnx_graph main = {e, m->main};

    wire_write_integer(w, 1, (uint64_t)m->ir_version);
    wire_write_text(w, 2, m->producer_name);
    wire_write_text(w, 3, m->producer_version);
    wire_write_text(w, 4, m->domain);
    if (m->version != 0) {
        wire_write_integer(w, 5, (uint64_t)m->version);
    }
    wire_write_text(w, 6, m->doc);
    wire_write_message(w, 7, onnx_emit_graph, &main);
    for (int32_t i = 0; i < m->opset_count; i++) {
        wire_write_message(w, 8, emit_opset, &m->opsets[i]);
    }
    for (int32_t i = 0; i < m->metadata_count; i++) {
        wire_write_message(w, 14, emit_metadata, &m->metadata[i]);
    }
    for (int32_t i = 0; i < m->function_count; i++) {
        const function_out out = {e, &m->functions[i]};

        wire_write_message(w, 25, emit_function, &out);
    }
    wire_write_kept(w, m->unknown);
}

static spry_status count_bytes(onnx_emitter *e, uint64_t *bytes)
{
    wire_writer w = {.error = e->error};

    emit_model(&w, e);
    *bytes = w.bytes;
    return w.status;
}

/* ---- external data ---- */

static bool goes_outside(const graph_value *v)
{
    return v->constant != NULL && v->outer == GRAPH_NONE &&
           v->constant->dtype != SPRY_DTYPE_STRING &&
           v->constant->bytes >= ONNX_WRITE_EXTERNAL_BYTES;
}

/* Gives every large initializer of the main graph an aligned place in the data file. */
static spry_status assign_offsets(onnx_emitter *e)
{
    const graph *g = e->m->main;
    uint64_t *offsets = arena_array(e->memory, (size_t)g->value_count, sizeof *offsets);
    uint64_t end = 0;

    if (offsets == NULL) {
        return alloc_failed(e->error, (size_t)g->value_count * sizeof *offsets);
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        offsets[i] = UINT64_MAX;
        if (goes_outside(&g->values[i])) {
            offsets[i] =
                (end + ONNX_WRITE_ALIGNMENT - 1) / ONNX_WRITE_ALIGNMENT * ONNX_WRITE_ALIGNMENT;
            end = offsets[i] + g->values[i].constant->bytes;
        }
    }
    e->offsets = offsets;
    return SPRY_OK;
}

static spry_status append_data(const onnx_emitter *e, file_writer *file)
{
    static const uint8_t zeros[ONNX_WRITE_ALIGNMENT] = {0};
    const graph *g = e->m->main;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < g->value_count; i++) {
        const tensor *t = g->values[i].constant;

        if (e->offsets[i] == UINT64_MAX) {
            continue;
        }
        status = file_writer_append(file, zeros, (size_t)(e->offsets[i] - file_writer_offset(file)),
                                    e->error);
        if (status == SPRY_OK) {
            status = file_writer_append(file, t->data, t->bytes, e->error);
        }
    }
    return status == SPRY_OK ? file_writer_commit(file, e->error) : status;
}

static spry_status write_data(const onnx_emitter *e, const char *path)
{
    file_writer *file = NULL;
    spry_status status = file_writer_open(&e->m->allocator, path, &file, e->error);

    if (status == SPRY_OK) {
        status = append_data(e, file);
    }
    file_writer_close(file);
    return status;
}

/* Decides where the large initializers go, and writes them there. */
static spry_status move_weights(onnx_emitter *e, const char *path)
{
    size_t length = strlen(path);
    char *data_path = arena_bytes(e->memory, length + sizeof ".data");
    const char *slash;
    uint64_t bytes;
    spry_status status;

    if (data_path == NULL) {
        return alloc_failed(e->error, length + sizeof ".data");
    }
    (void)snprintf(data_path, length + sizeof ".data", "%s.data", path);
    slash = strrchr(data_path, '/');
    e->location = slash != NULL ? slash + 1 : data_path;
    status = assign_offsets(e);
    if (status == SPRY_OK) {
        status = count_bytes(e, &bytes);
    }
    if (status == SPRY_OK && bytes > ONNX_WRITE_INLINE_BYTES) {
        return spry_fail(e->error, SPRY_LIMIT, path, NULL,
                         "the graph alone needs more than 2 GiB, which no ONNX file can hold");
    }
    return status == SPRY_OK ? write_data(e, data_path) : status;
}

/* ---- entry points ---- */

static spry_status write_model(onnx_emitter *e, const char *path)
{
    wire_writer w = {.error = e->error};
    spry_status status = file_writer_open(&e->m->allocator, path, &w.file, e->error);

    if (status == SPRY_OK) {
        emit_model(&w, e);
        status = w.status;
    }
    if (status == SPRY_OK) {
        status = file_writer_commit(w.file, e->error);
    }
    file_writer_close(w.file);
    return status;
}

spry_status onnx_write(const model *m, const char *path, uint64_t ceiling, spry_error *error)
{
    arena memory;
    onnx_emitter e = {.m = m, .memory = &memory, .error = error};
    uint64_t bytes;
    spry_status status;

    arena_init(&memory, &m->allocator, SIZE_MAX);
    status = model_weights_hold_all(m, error);
    if (status == SPRY_OK) {
        status = count_bytes(&e, &bytes);
    }
    if (status == SPRY_OK && bytes > ceiling) {
        status = move_weights(&e, path);
    }
    if (status == SPRY_OK) {
        status = write_model(&e, path);
    }
    arena_fini(&memory);
    return status;
}

spry_status spry_model_save(const spry_model *m, const char *path, spry_error *error)
{
    return onnx_write(m, path, ONNX_WRITE_INLINE_BYTES, error);
}
