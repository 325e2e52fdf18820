/* spry_model as callers see it: ports, versions, the end of its life. */
#include "model/model.h"

#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "model/onnx_parse.h"
#include "model/weights.h"

enum { RELEASE_LEAST = 1 << 20 }; /* bytes of a file that are worth a system call */

static void file_release(graph_bytes bytes)
{
    file_map map = {.data = bytes.data, .size = bytes.size};

    if (map.size >= RELEASE_LEAST) {
        file_map_release(&map);
    }
}

spry_status model_create(const spry_allocator *allocator, size_t ceiling, model **m,
                         spry_error *error)
{
    const spry_allocator resolved = alloc_resolve(allocator);
    model *made = alloc_zeroed(&resolved, sizeof *made);

    *m = made;
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = resolved;
    arena_init(&made->memory, &resolved, ceiling);
    made->producer_name = "";
    made->producer_version = "";
    made->domain = "";
    made->doc = "";
    made->path = "<memory>";
    return SPRY_OK;
}

void spry_model_destroy(spry_model *m)
{
    spry_allocator allocator;

    if (m == NULL) {
        return;
    }
    allocator = m->allocator;
    onnx_close_externals(m);
    if (!m->is_copy) {
        model_weights_destroy(m);
    }
    if (m->file != NULL) {
        tensor_storage_drop(m->file);
    }
    arena_fini(&m->memory);
    alloc_release(&allocator, m, sizeof *m);
}

void model_release_pages(const model *m)
{
    file_release(m->file_bytes);
    for (const model_file *file = m->externals; file != NULL; file = file->next) {
        file_release(file->bytes);
    }
}

int64_t model_opset_version(const model *m, const char *domain)
{
    for (int32_t i = 0; i < m->opset_count; i++) {
        if (strcmp(m->opsets[i].domain, domain) == 0) {
            return m->opsets[i].version;
        }
    }
    return 0;
}

const model_function *model_find_function(const model *m, const char *domain, const char *name,
                                          const char *overload)
{
    for (int32_t i = 0; i < m->function_count; i++) {
        const model_function *f = &m->functions[i];

        if (strcmp(f->name, name) == 0 && strcmp(f->domain, domain) == 0 &&
            strcmp(f->overload, overload) == 0) {
            return f;
        }
    }
    return NULL;
}

bool model_input_is_required(const model *m, int32_t index)
{
    return m->main->values[m->main->inputs[index]].constant == NULL;
}

int32_t spry_model_input_count(const spry_model *m)
{
    int32_t count = 0;

    for (int32_t i = 0; i < m->main->input_count; i++) {
        count += model_input_is_required(m, i);
    }
    return count;
}

int32_t spry_model_output_count(const spry_model *m)
{
    return m->main->output_count;
}

static void describe(const graph_value *v, spry_port *port)
{
    *port = (spry_port){.name = v->name, .rank = -1};
    if (v->type.kind != GRAPH_TYPE_TENSOR) {
        return;
    }
    port->dtype = v->type.dtype;
    port->rank = v->type.has_rank ? v->type.rank : -1;
    for (int i = 0; i < port->rank; i++) {
        port->shape[i] = v->type.dims[i].size;
        port->symbol[i] = v->type.dims[i].symbol;
    }
}

static spry_status no_such_port(const char *what, int32_t index, spry_error *error)
{
    return spry_fail(error, SPRY_USAGE, NULL, NULL, "the model has no %s %d", what, (int)index);
}

spry_status spry_model_input(const spry_model *m, int32_t index, spry_port *port, spry_error *error)
{
    int32_t seen = 0;

    for (int32_t i = 0; i < m->main->input_count; i++) {
        if (model_input_is_required(m, i) && seen++ == index) {
            describe(&m->main->values[m->main->inputs[i]], port);
            return SPRY_OK;
        }
    }
    return no_such_port("input", index, error);
}

spry_status spry_model_output(const spry_model *m, int32_t index, spry_port *port,
                              spry_error *error)
{
    if (index < 0 || index >= m->main->output_count) {
        return no_such_port("output", index, error);
    }
    describe(&m->main->values[m->main->outputs[index]], port);
    return SPRY_OK;
}

spry_status model_copy(const model *source, model **copy, spry_error *error)
{
    spry_allocator allocator = source->allocator;
    model *made = alloc_zeroed(&allocator, sizeof *made);
    spry_status status;

    *copy = NULL;
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    *made = *source;
    made->is_copy = true;
    made->identity = 0; /* it will be changed */
    made->file = NULL;  /* stays with the source */
    made->externals = NULL;
    arena_init(&made->memory, &allocator, SIZE_MAX);
    status = model_weights_hold_all(source, error); /* who edits a model reads its weights */
    if (status == SPRY_OK) {
        status = graph_copy(source->main, &made->memory, NULL, &made->main, error);
    }
    if (status != SPRY_OK) {
        spry_model_destroy(made);
        return status;
    }
    *copy = made;
    return SPRY_OK;
}

/* ---- functions ---- */

static spry_status import_domain(model *m, const char *domain, spry_error *error)
{
    model_opset *opsets;

    if (model_opset_version(m, domain) != 0) {
        return SPRY_OK;
    }
    opsets = arena_array(&m->memory, (size_t)m->opset_count + 1, sizeof *opsets);
    if (opsets == NULL) {
        return alloc_failed(error, sizeof *opsets);
    }
    if (m->opset_count > 0) {
        memcpy(opsets, m->opsets, (size_t)m->opset_count * sizeof *opsets);
    }
    opsets[m->opset_count++] = (model_opset){domain, 1};
    m->opsets = opsets;
    return SPRY_OK;
}

spry_status model_add_function(model *m, const model_function *f, spry_error *error)
{
    enum { FUNCTION_IR = 8 };
    size_t count = (size_t)m->function_count;
    model_function *functions = arena_array(&m->memory, count + 1, sizeof *functions);

    if (functions == NULL) {
        return alloc_failed(error, (count + 1) * sizeof *functions);
    }
    if (count > 0) {
        memcpy(functions, m->functions, count * sizeof *functions);
    }
    functions[count] = *f;
    m->functions = functions;
    m->function_count++;
    m->ir_version = m->ir_version < FUNCTION_IR ? FUNCTION_IR : m->ir_version;
    return import_domain(m, f->domain, error);
}
