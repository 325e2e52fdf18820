/* ModelProto: from a file or bytes to spry_model. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/limits.h"
#include "model/onnx_parse.h"
#include "model/weights.h"

enum {
    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER_NAME = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_DOMAIN = 4,
    MODEL_VERSION = 5,
    MODEL_DOC = 6,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_METADATA = 14,
    MODEL_FUNCTION = 25,
    FUNCTION_NAME = 1,
    FUNCTION_INPUT = 4,
    FUNCTION_OUTPUT = 5,
    FUNCTION_ATTRIBUTE = 6,
    FUNCTION_NODE = 7,
    FUNCTION_DOC = 8,
    FUNCTION_OPSET = 9,
    FUNCTION_DOMAIN = 10,
    FUNCTION_DEFAULT = 11,
    FUNCTION_INFO = 12,
    FUNCTION_OVERLOAD = 13,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
    RESERVED_BYTES = 3 * ARENA_CHUNK_BYTES, /* what arenas take in advance */
    OLDEST_IR_VERSION = 3,
    NEWEST_OPSET = 25 /* operators of later sets may mean something else */
};

/* ---- functions ---- */

typedef struct function_counts {
    size_t opsets;
    size_t attributes;
    size_t defaults;
} function_counts;

static spry_status count_function_field(onnx_context *c, const wire_reader *r,
                                        const wire_field *field, model_function *f,
                                        function_counts *counts)
{
    switch (field->number) {
    case FUNCTION_NAME: return onnx_read_name(c, r, field, &f->name);
    case FUNCTION_DOMAIN: return onnx_read_name(c, r, field, &f->domain);
    case FUNCTION_OVERLOAD: return onnx_read_name(c, r, field, &f->overload);
    case FUNCTION_DOC: return onnx_read_doc(c, r, field, &f->doc);
    case FUNCTION_OPSET: counts->opsets++; return SPRY_OK;
    case FUNCTION_ATTRIBUTE: counts->attributes++; return SPRY_OK;
    case FUNCTION_DEFAULT: counts->defaults++; return SPRY_OK;
    case FUNCTION_INPUT:
    case FUNCTION_OUTPUT:
    case FUNCTION_NODE:
    case FUNCTION_INFO: return SPRY_OK; /* the body */
    default: return wire_keep(c->memory, &f->unknown, field, c->source.error);
    }
}

static spry_status read_function_lists(onnx_context *c, wire_reader r, model_function *f,
                                       const function_counts *counts)
{
    model_opset *opsets = arena_array(c->memory, counts->opsets, sizeof *opsets);
    const char **names = arena_array(c->memory, counts->attributes, sizeof *names);
    graph_attribute *defaults = arena_array(c->memory, counts->defaults, sizeof *defaults);
    spry_status status = SPRY_OK;

    if (opsets == NULL || names == NULL || defaults == NULL) {
        return alloc_failed(c->source.error, counts->defaults * sizeof *defaults);
    }
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status != SPRY_OK) {
            continue;
        }
        if (field.number == FUNCTION_OPSET) {
            status = onnx_read_opset(c, &r, &field, &opsets[f->opset_count++]);
        } else if (field.number == FUNCTION_ATTRIBUTE) {
            status = onnx_read_name(c, &r, &field, &names[f->attribute_count++]);
        } else if (field.number == FUNCTION_DEFAULT) {
            status = wire_enter(&r, &field, &child);
            if (status == SPRY_OK) {
                status = onnx_read_attribute(c, child, NULL, &defaults[f->default_count++]);
            }
        }
    }
    f->opsets = opsets;
    f->attributes = names;
    f->defaults = defaults;
    return status;
}

static spry_status read_function(onnx_context *c, wire_reader r, model_function *f)
{
    const wire_reader message = r;
    const onnx_context outer = *c;
    function_counts counts = {0};
    spry_status status = SPRY_OK;

    *f = (model_function){.domain = "", .name = "", .overload = "", .doc = ""};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK) {
            status = count_function_field(c, &r, &field, f, &counts);
        }
    }
    if (status == SPRY_OK) {
        f->domain = onnx_normal_domain(f->domain);
        status = read_function_lists(c, message, f, &counts);
    }
    if (status != SPRY_OK) {
        return status;
    }
    c->opsets = f->opsets;
    c->opset_count = f->opset_count;
    status = onnx_read_body(c, message, &f->body);
    c->opsets = outer.opsets;
    c->opset_count = outer.opset_count;
    return status;
}

/* ---- the model ---- */

static spry_status read_metadata(onnx_context *c, const wire_reader *r, const wire_field *field,
                                 model_metadata *entry)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    *entry = (model_metadata){"", ""};
    while (status == SPRY_OK && wire_more(&child)) {
        wire_field part;

        status = wire_next(&child, &part);
        if (status == SPRY_OK && part.number == ENTRY_KEY) {
            status = onnx_read_name(c, &child, &part, &entry->key);
        } else if (status == SPRY_OK && part.number == ENTRY_VALUE) {
            status = onnx_read_doc(c, &child, &part, &entry->text);
        }
    }
    return status;
}

typedef struct model_parts {
    wire_field graph;
    bool has_graph;
    size_t opsets;
    size_t metadata;
    size_t functions;
} model_parts;

/* First pass: plain fields, and how many of the others there are. */
static spry_status scan_model_field(onnx_context *c, const wire_reader *r, const wire_field *field,
                                    model_parts *parts)
{
    model *m = c->m;

    switch (field->number) {
    case MODEL_IR_VERSION:
        m->ir_version = (int64_t)field->integer;
        return wire_expect(r, field, WIRE_VARINT);
    case MODEL_VERSION:
        m->version = (int64_t)field->integer;
        return wire_expect(r, field, WIRE_VARINT);
    case MODEL_PRODUCER_NAME: return onnx_read_name(c, r, field, &m->producer_name);
    case MODEL_PRODUCER_VERSION: return onnx_read_name(c, r, field, &m->producer_version);
    case MODEL_DOMAIN: return onnx_read_name(c, r, field, &m->domain);
    case MODEL_DOC: return onnx_read_doc(c, r, field, &m->doc);
    case MODEL_GRAPH:
        if (parts->has_graph) {
            return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                             "the file has two graphs");
        }
        parts->graph = *field;
        parts->has_graph = true;
        return SPRY_OK;
    case MODEL_OPSET: parts->opsets++; return SPRY_OK;
    case MODEL_METADATA: parts->metadata++; return SPRY_OK;
    case MODEL_FUNCTION: parts->functions++; return SPRY_OK;
    default: return wire_keep(c->memory, &m->unknown, field, c->source.error);
    }
}

static spry_status allocate_lists(onnx_context *c, const model_parts *parts)
{
    model *m = c->m;

    m->opsets = arena_array(c->memory, parts->opsets, sizeof *m->opsets);
    m->metadata = arena_array(c->memory, parts->metadata, sizeof *m->metadata);
    m->functions = arena_array(c->memory, parts->functions, sizeof *m->functions);
    if (m->opsets == NULL || m->metadata == NULL || m->functions == NULL) {
        return alloc_failed(c->source.error, parts->functions * sizeof *m->functions);
    }
    return SPRY_OK;
}

/* Second pass: operator sets and metadata, which everything else refers to. */
static spry_status read_model_lists(onnx_context *c, wire_reader r)
{
    model *m = c->m;
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK && field.number == MODEL_OPSET) {
            status = onnx_read_opset(c, &r, &field, &m->opsets[m->opset_count++]);
        } else if (status == SPRY_OK && field.number == MODEL_METADATA) {
            status = read_metadata(c, &r, &field, &m->metadata[m->metadata_count++]);
        }
    }
    c->opsets = m->opsets;
    c->opset_count = m->opset_count;
    return status;
}

static spry_status read_functions(onnx_context *c, wire_reader r)
{
    model *m = c->m;
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status != SPRY_OK || field.number != MODEL_FUNCTION) {
            continue;
        }
        status = wire_enter(&r, &field, &child);
        if (status == SPRY_OK) {
            status = read_function(c, child, &m->functions[m->function_count]);
            m->function_count += status == SPRY_OK;
        }
    }
    return status;
}

static spry_status check_versions(onnx_context *c)
{
    const model *m = c->m;

    if (m->ir_version < OLDEST_IR_VERSION) {
        return spry_fail(
            c->source.error, SPRY_UNSUPPORTED, m->path, "convert the model with a current exporter",
            "IR version %lld is older than %d", (long long)m->ir_version, OLDEST_IR_VERSION);
    }
    if (model_opset_version(m, "") > NEWEST_OPSET) {
        return spry_fail(c->source.error, SPRY_UNSUPPORTED, m->path,
                         "export the model for an older operator set",
                         "operator set %lld is newer than %d",
                         (long long)model_opset_version(m, ""), NEWEST_OPSET);
    }
    return SPRY_OK;
}

static spry_status read_model(onnx_context *c, wire_reader r)
{
    const wire_reader message = r;
    model_parts parts = {.has_graph = false};
    wire_reader child;
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK) {
            status = scan_model_field(c, &r, &field, &parts);
        }
    }
    if (status == SPRY_OK && !parts.has_graph) {
        status = spry_fail(c->source.error, SPRY_BAD_INPUT, c->m->path,
                           "check that this is an ONNX file", "the file holds no graph");
    }
    if (status == SPRY_OK) {
        status = allocate_lists(c, &parts);
    }
    if (status == SPRY_OK) {
        status = read_model_lists(c, message);
    }
    if (status == SPRY_OK) {
        status = check_versions(c);
    }
    if (status == SPRY_OK) {
        status = read_functions(c, message);
    }
    if (status == SPRY_OK) {
        status = wire_enter(&message, &parts.graph, &child);
    }
    return status == SPRY_OK ? onnx_read_graph(c, child, NULL, &c->m->main) : status;
}

/* ---- entry points ---- */

/* An empty model whose memory may cost at most twice the file and a constant. */
static spry_status create_model(const spry_allocator *allocator, size_t file_bytes, model **m,
                                spry_error *error)
{
    size_t ceiling;

    if (!checked_mul(file_bytes, 2, &ceiling) ||
        !checked_add(ceiling, LIMIT_PARSE_SLACK_BYTES - RESERVED_BYTES, &ceiling)) {
        *m = NULL;
        return alloc_failed(error, file_bytes);
    }
    return model_create(allocator, ceiling, m, error);
}

/* Fills `m` from the bytes; on failure destroys it. */
static spry_status parse(model *m, const uint8_t *bytes, size_t size, model **created,
                         spry_error *error)
{
    onnx_context c = {.source = {m->path, bytes, error}, .memory = &m->memory, .m = m};
    spry_status status = read_model(&c, wire_open(&c.source, bytes, size));

    if (status == SPRY_OK) {
        status = model_weights_settle(m, error);
    }
    if (status != SPRY_OK) {
        if (error != NULL && error->where[0] == '\0') {
            (void)snprintf(error->where, sizeof error->where, "%s", m->path);
        }
        spry_model_destroy(m);
        return status;
    }
    m->memory.ceiling = (size_t)LIMIT_MODEL_BYTES; /* edits are not bounded by the file's size */
    *created = m;
    return SPRY_OK;
}

/* The part of `path` before the last '/', or "." */
static const char *folder_of(model *m, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return ".";
    }
    return slash == path ? "/" : arena_text(&m->memory, path, (size_t)(slash - path));
}

spry_status spry_model_load(const spry_allocator *allocator, const char *path, spry_model **out,
                            spry_error *error)
{
    file_map map;
    model *m;
    spry_status status = file_map_open(path, LIMIT_MODEL_BYTES, &map, error);

    *out = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    status = create_model(allocator, map.size, &m, error);
    if (status != SPRY_OK) {
        file_map_close(&map);
        return status;
    }
    status = onnx_map_storage(&m->allocator, &map, &m->file, error);
    if (status == SPRY_OK) {
        m->file_bytes = (graph_bytes){map.data, map.size};
        m->identity = map.identity;
        m->path = arena_text(&m->memory, path, strlen(path));
        m->folder = folder_of(m, path);
        status = m->path != NULL && m->folder != NULL ? SPRY_OK : alloc_failed(error, strlen(path));
    }
    if (status != SPRY_OK) {
        spry_model_destroy(m);
        return status;
    }
    return parse(m, map.data, map.size, out, error);
}

spry_status spry_model_parse(const spry_allocator *allocator, const void *bytes, size_t size,
                             const char *folder, spry_model **out, spry_error *error)
{
    model *m;
    spry_status status = create_model(allocator, size, &m, error);

    *out = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    if (folder != NULL) {
        m->folder = arena_text(&m->memory, folder, strlen(folder));
        if (m->folder == NULL) {
            spry_model_destroy(m);
            return alloc_failed(error, strlen(folder));
        }
    }
    return parse(m, bytes, size, out, error);
}
