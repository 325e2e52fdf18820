/* Strings and types: the small messages that every larger one contains. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/onnx_parse.h"

enum {
    TYPE_TENSOR = 1,
    TYPE_SEQUENCE = 4,
    TYPE_MAP = 5,
    TYPE_DENOTATION = 6,
    TYPE_OPAQUE = 7,
    TYPE_SPARSE = 8,
    TYPE_OPTIONAL = 9,
    TENSOR_TYPE_ELEMENT = 1,
    TENSOR_TYPE_SHAPE = 2,
    SHAPE_DIM = 1,
    DIM_VALUE = 1,
    DIM_PARAM = 2,
    OPSET_DOMAIN = 1,
    OPSET_VERSION = 2
};

spry_status onnx_read_text(onnx_context *c, const wire_reader *r, const wire_field *field,
                           size_t ceiling, const char **text)
{
    spry_status status = wire_expect(r, field, WIRE_BYTES);

    if (status != SPRY_OK) {
        return status;
    }
    if (field->bytes.size > ceiling) {
        return wire_fail(r->source, SPRY_LIMIT, field->whole.data,
                         "a text has %zu bytes, at most %zu are allowed", field->bytes.size,
                         ceiling);
    }
    if (!wire_is_text(field->bytes)) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data, "a text is not valid UTF-8");
    }
    *text = field->bytes.size == 0
                ? ""
                : arena_text(c->memory, (const char *)field->bytes.data, field->bytes.size);
    return *text != NULL ? SPRY_OK : alloc_failed(c->source.error, field->bytes.size);
}

spry_status onnx_read_name(onnx_context *c, const wire_reader *r, const wire_field *field,
                           const char **name)
{
    return onnx_read_text(c, r, field, LIMIT_NAME_BYTES, name);
}

spry_status onnx_read_doc(onnx_context *c, const wire_reader *r, const wire_field *field,
                          const char **doc)
{
    return onnx_read_text(c, r, field, LIMIT_ATTRIBUTE_BYTES, doc);
}

const char *onnx_normal_domain(const char *domain)
{
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

spry_status onnx_read_opset(onnx_context *c, const wire_reader *r, const wire_field *field,
                            model_opset *opset)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    *opset = (model_opset){.domain = ""};
    while (status == SPRY_OK && wire_more(&child)) {
        wire_field part;

        status = wire_next(&child, &part);
        if (status == SPRY_OK && part.number == OPSET_DOMAIN) {
            status = onnx_read_name(c, &child, &part, &opset->domain);
        } else if (status == SPRY_OK && part.number == OPSET_VERSION) {
            opset->version = (int64_t)part.integer;
            status = wire_expect(&child, &part, WIRE_VARINT);
        }
    }
    opset->domain = onnx_normal_domain(opset->domain);
    if (status == SPRY_OK && (opset->version < 1 || opset->version > INT32_MAX)) {
        status = wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                           "version %lld of operator set '%.200s' is impossible",
                           (long long)opset->version, opset->domain);
    }
    return status;
}

static spry_status read_dim(onnx_context *c, wire_reader r, graph_dim *dim)
{
    spry_status status = SPRY_OK;

    *dim = (graph_dim){.size = -1};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK && field.number == DIM_VALUE) {
            int64_t size = (int64_t)field.integer;

            status = wire_expect(&r, &field, WIRE_VARINT);
            if (status == SPRY_OK && size > LIMIT_TENSOR_DIMENSION) {
                status = wire_fail(r.source, SPRY_LIMIT, field.whole.data,
                                   "dimension %lld is larger than 2^31 - 1", (long long)size);
            }
            dim->size = size < 0 ? -1 : size; /* exporters write -1 for "unknown" */
            dim->symbol = NULL;
        } else if (status == SPRY_OK && field.number == DIM_PARAM) {
            status = onnx_read_name(c, &r, &field, &dim->symbol);
            dim->size = -1;
        }
    }
    if (status == SPRY_OK && dim->symbol != NULL && dim->symbol[0] == '\0') {
        dim->symbol = NULL;
    }
    return status;
}

static spry_status read_shape(onnx_context *c, wire_reader r, graph_type *type)
{
    spry_status status = SPRY_OK;

    type->has_rank = true;
    type->rank = 0;
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status != SPRY_OK || field.number != SHAPE_DIM) {
            continue;
        }
        if (type->rank == LIMIT_TENSOR_RANK) {
            return wire_fail(r.source, SPRY_LIMIT, field.whole.data,
                             "a shape has more than %d dimensions", LIMIT_TENSOR_RANK);
        }
        status = wire_enter(&r, &field, &child);
        if (status == SPRY_OK) {
            status = read_dim(c, child, &type->dims[type->rank++]);
        }
    }
    return status;
}

static spry_status read_tensor_type(onnx_context *c, wire_reader r, graph_type *type)
{
    spry_status status = SPRY_OK;

    *type = (graph_type){.kind = GRAPH_TYPE_TENSOR};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status == SPRY_OK && field.number == TENSOR_TYPE_ELEMENT) {
            status = wire_expect(&r, &field, WIRE_VARINT);
            if (status == SPRY_OK && field.integer >= SPRY_DTYPE_COUNT) {
                status = wire_fail(r.source, SPRY_BAD_INPUT, field.whole.data,
                                   "element type %llu does not exist",
                                   (unsigned long long)field.integer);
            } else {
                type->dtype = (spry_dtype)field.integer;
            }
        } else if (status == SPRY_OK && field.number == TENSOR_TYPE_SHAPE) {
            status = wire_enter(&r, &field, &child);
            if (status == SPRY_OK) {
                status = read_shape(c, child, type);
            }
        }
    }
    return status;
}

/* Sequence and Optional: both hold one TypeProto in field 1. */
static spry_status read_element_type(onnx_context *c, wire_reader r, graph_type_kind kind,
                                     graph_type *type)
{
    graph_type *element = arena_zeroed(c->memory, sizeof *element);
    spry_status status = SPRY_OK;

    if (element == NULL) {
        return alloc_failed(c->source.error, sizeof *element);
    }
    *type = (graph_type){.kind = kind, .element = element};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status != SPRY_OK || field.number != 1) {
            continue;
        }
        status = wire_enter(&r, &field, &child);
        if (status == SPRY_OK) {
            status = onnx_read_type(c, child, element);
        }
    }
    return status;
}

spry_status onnx_read_type(onnx_context *c, wire_reader r, graph_type *type)
{
    spry_status status = SPRY_OK;

    *type = (graph_type){.kind = GRAPH_TYPE_UNKNOWN};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status != SPRY_OK || field.number == TYPE_DENOTATION) {
            continue;
        }
        status = wire_enter(&r, &field, &child);
        if (status != SPRY_OK) {
            continue;
        }
        switch (field.number) {
        case TYPE_TENSOR: status = read_tensor_type(c, child, type); break;
        case TYPE_SEQUENCE: status = read_element_type(c, child, GRAPH_TYPE_SEQUENCE, type); break;
        case TYPE_OPTIONAL: status = read_element_type(c, child, GRAPH_TYPE_OPTIONAL, type); break;
        case TYPE_MAP:
        case TYPE_OPAQUE:
        case TYPE_SPARSE: *type = (graph_type){.kind = GRAPH_TYPE_OTHER}; break;
        default: break;
        }
    }
    return status;
}
