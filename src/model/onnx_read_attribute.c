/* AttributeProto. Lists are copied out of the file, tensors stay in it. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/onnx_parse.h"

enum {
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_F = 2,
    ATTRIBUTE_I = 3,
    ATTRIBUTE_S = 4,
    ATTRIBUTE_T = 5,
    ATTRIBUTE_G = 6,
    ATTRIBUTE_FLOATS = 7,
    ATTRIBUTE_INTS = 8,
    ATTRIBUTE_STRINGS = 9,
    ATTRIBUTE_TENSORS = 10,
    ATTRIBUTE_GRAPHS = 11,
    ATTRIBUTE_DOC = 13,
    ATTRIBUTE_TP = 14,
    ATTRIBUTE_TYPE_PROTOS = 15,
    ATTRIBUTE_TYPE = 20,
    ATTRIBUTE_REF = 21,
    ATTRIBUTE_SPARSE = 22,
    ATTRIBUTE_SPARSES = 23,
    ATTRIBUTE_FIELD_COUNT = 24
};

/* Which kind of attribute a data field means. */
static const uint8_t kind_of_field[ATTRIBUTE_FIELD_COUNT] = {
    [ATTRIBUTE_F] = GRAPH_ATTRIBUTE_FLOAT,
    [ATTRIBUTE_I] = GRAPH_ATTRIBUTE_INT,
    [ATTRIBUTE_S] = GRAPH_ATTRIBUTE_STRING,
    [ATTRIBUTE_T] = GRAPH_ATTRIBUTE_TENSOR,
    [ATTRIBUTE_G] = GRAPH_ATTRIBUTE_GRAPH,
    [ATTRIBUTE_FLOATS] = GRAPH_ATTRIBUTE_FLOATS,
    [ATTRIBUTE_INTS] = GRAPH_ATTRIBUTE_INTS,
    [ATTRIBUTE_STRINGS] = GRAPH_ATTRIBUTE_STRINGS,
    [ATTRIBUTE_TENSORS] = GRAPH_ATTRIBUTE_TENSORS,
    [ATTRIBUTE_GRAPHS] = GRAPH_ATTRIBUTE_GRAPHS,
    [ATTRIBUTE_TP] = GRAPH_ATTRIBUTE_TYPE,
    [ATTRIBUTE_TYPE_PROTOS] = GRAPH_ATTRIBUTE_TYPES,
    [ATTRIBUTE_SPARSE] = GRAPH_ATTRIBUTE_SPARSE_TENSOR,
    [ATTRIBUTE_SPARSES] = GRAPH_ATTRIBUTE_SPARSE_TENSORS,
};

/* What one pass over the message finds. */
typedef struct attribute_parts {
    graph_attribute_kind stated;          /* AttributeProto.type; NONE in old files */
    graph_attribute_kind seen;            /* of the last data field */
    size_t counts[ATTRIBUTE_FIELD_COUNT]; /* fields of each number */
} attribute_parts;

static spry_status scan_field(onnx_context *c, const wire_reader *r, const wire_field *field,
                              attribute_parts *parts, graph_attribute *a)
{
    uint32_t number = field->number;

    switch (number) {
    case ATTRIBUTE_NAME: return onnx_read_name(c, r, field, &a->name);
    case ATTRIBUTE_REF: return onnx_read_name(c, r, field, &a->ref_name);
    case ATTRIBUTE_DOC: return onnx_read_doc(c, r, field, &a->doc);
    case ATTRIBUTE_TYPE:
        if (field->integer > GRAPH_ATTRIBUTE_TYPES) {
            return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                             "attribute type %llu does not exist",
                             (unsigned long long)field->integer);
        }
        parts->stated = (graph_attribute_kind)field->integer;
        return wire_expect(r, field, WIRE_VARINT);
    default: break;
    }
    if (number >= ATTRIBUTE_FIELD_COUNT || kind_of_field[number] == GRAPH_ATTRIBUTE_NONE) {
        return wire_keep(c->memory, &a->unknown, field, c->source.error);
    }
    parts->seen = (graph_attribute_kind)kind_of_field[number];
    parts->counts[number]++;
    return SPRY_OK;
}

static spry_status read_numbers(onnx_context *c, const wire_reader *message, uint32_t number,
                                wire_type type, size_t size, graph_attribute *a)
{
    void *values;
    size_t count;
    spry_status status =
        wire_gather(message, number, type, size, (size_t)LIMIT_ATTRIBUTE_BYTES / size, c->memory,
                    &values, &count);

    if (type == WIRE_VARINT) {
        a->as.ints = values;
    } else {
        a->as.floats = values;
    }
    a->count = (int64_t)count;
    return status;
}

/* The data fields of one kind, read one by one into an array. */
typedef spry_status (*read_element)(onnx_context *c, const wire_reader *r, const wire_field *field,
                                    graph *g, void *element);

static spry_status read_list(onnx_context *c, wire_reader r, uint32_t number, size_t count,
                             size_t size, read_element read, graph *g, graph_attribute *a)
{
    char *elements = arena_array(c->memory, count, size);
    size_t filled = 0;

    if (elements == NULL) {
        return alloc_failed(c->source.error, count * size);
    }
    while (wire_more(&r)) {
        wire_field field;
        spry_status status = wire_next(&r, &field);

        if (status == SPRY_OK && field.number == number) {
            status = read(c, &r, &field, g, elements + filled++ * size);
        }
        if (status != SPRY_OK) {
            return status;
        }
    }
    a->as.raw = (const graph_bytes *)(const void *)elements;
    a->count = (int64_t)count;
    return SPRY_OK;
}

static spry_status read_string(onnx_context *c, const wire_reader *r, const wire_field *field,
                               graph *g, void *element)
{
    spry_text *text = element;
    spry_status status = wire_expect(r, field, WIRE_BYTES);

    (void)g;
    if (status != SPRY_OK) {
        return status;
    }
    if (field->bytes.size > (size_t)LIMIT_ATTRIBUTE_BYTES) {
        return wire_fail(r->source, SPRY_LIMIT, field->whole.data,
                         "an attribute has more than %d bytes", LIMIT_ATTRIBUTE_BYTES);
    }
    text->data = arena_text(c->memory, (const char *)field->bytes.data, field->bytes.size);
    text->size = field->bytes.size;
    return text->data != NULL ? SPRY_OK : alloc_failed(c->source.error, text->size);
}

static spry_status read_tensor(onnx_context *c, const wire_reader *r, const wire_field *field,
                               graph *g, void *element)
{
    onnx_tensor read;
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    (void)g;
    if (status == SPRY_OK) {
        status = onnx_read_tensor(c, child, &read);
    }
    if (status == SPRY_OK) {
        *(tensor *)element = read.t;
    }
    return status;
}

static spry_status read_graph(onnx_context *c, const wire_reader *r, const wire_field *field,
                              graph *g, void *element)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    return status == SPRY_OK ? onnx_read_graph(c, child, g, element) : status;
}

static spry_status read_type(onnx_context *c, const wire_reader *r, const wire_field *field,
                             graph *g, void *element)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    (void)g;
    return status == SPRY_OK ? onnx_read_type(c, child, element) : status;
}

static spry_status read_raw(onnx_context *c, const wire_reader *r, const wire_field *field,
                            graph *g, void *element)
{
    (void)c;
    (void)g;
    *(graph_bytes *)element = field->bytes;
    return wire_expect(r, field, WIRE_BYTES);
}

/* How each kind that is read field by field is stored. */
static const struct {
    uint32_t number;
    size_t size;
    read_element read;
} lists[] = {
    [GRAPH_ATTRIBUTE_STRING] = {ATTRIBUTE_S, sizeof(spry_text), read_string},
    [GRAPH_ATTRIBUTE_TENSOR] = {ATTRIBUTE_T, sizeof(tensor), read_tensor},
    [GRAPH_ATTRIBUTE_GRAPH] = {ATTRIBUTE_G, sizeof(graph *), read_graph},
    [GRAPH_ATTRIBUTE_STRINGS] = {ATTRIBUTE_STRINGS, sizeof(spry_text), read_string},
    [GRAPH_ATTRIBUTE_TENSORS] = {ATTRIBUTE_TENSORS, sizeof(tensor), read_tensor},
    [GRAPH_ATTRIBUTE_GRAPHS] = {ATTRIBUTE_GRAPHS, sizeof(graph *), read_graph},
    [GRAPH_ATTRIBUTE_SPARSE_TENSOR] = {ATTRIBUTE_SPARSE, sizeof(graph_bytes), read_raw},
    [GRAPH_ATTRIBUTE_SPARSE_TENSORS] = {ATTRIBUTE_SPARSES, sizeof(graph_bytes), read_raw},
    [GRAPH_ATTRIBUTE_TYPE] = {ATTRIBUTE_TP, sizeof(graph_type), read_type},
    [GRAPH_ATTRIBUTE_TYPES] = {ATTRIBUTE_TYPE_PROTOS, sizeof(graph_bytes), read_raw},
};

static bool is_singular(graph_attribute_kind kind)
{
    return (kind >= GRAPH_ATTRIBUTE_FLOAT && kind <= GRAPH_ATTRIBUTE_GRAPH) ||
           kind == GRAPH_ATTRIBUTE_SPARSE_TENSOR || kind == GRAPH_ATTRIBUTE_TYPE;
}

static spry_status read_data(onnx_context *c, const wire_reader *message,
                             const attribute_parts *parts, graph *g, graph_attribute *a)
{
    switch (a->kind) {
    case GRAPH_ATTRIBUTE_FLOAT:
        return read_numbers(c, message, ATTRIBUTE_F, WIRE_FIXED32, sizeof(float), a);
    case GRAPH_ATTRIBUTE_FLOATS:
        return read_numbers(c, message, ATTRIBUTE_FLOATS, WIRE_FIXED32, sizeof(float), a);
    case GRAPH_ATTRIBUTE_INT:
        return read_numbers(c, message, ATTRIBUTE_I, WIRE_VARINT, sizeof(int64_t), a);
    case GRAPH_ATTRIBUTE_INTS:
        return read_numbers(c, message, ATTRIBUTE_INTS, WIRE_VARINT, sizeof(int64_t), a);
    case GRAPH_ATTRIBUTE_NONE: return SPRY_OK;
    default:
        return read_list(c, *message, lists[a->kind].number, parts->counts[lists[a->kind].number],
                         lists[a->kind].size, lists[a->kind].read, g, a);
    }
}

/* proto3 leaves out numbers and strings that are zero or empty. */
static spry_status fill_default(onnx_context *c, const wire_reader *message, graph_attribute *a)
{
    static const float no_float[1] = {0};
    static const int64_t no_int[1] = {0};
    static const spry_text no_text[1] = {{"", 0}};

    switch (a->kind) {
    case GRAPH_ATTRIBUTE_FLOAT: a->as.floats = no_float; break;
    case GRAPH_ATTRIBUTE_INT: a->as.ints = no_int; break;
    case GRAPH_ATTRIBUTE_STRING: a->as.strings = no_text; break;
    default:
        return wire_fail(&c->source, SPRY_BAD_INPUT, message->at, "attribute '%.200s' has no value",
                         a->name);
    }
    a->count = 1;
    return SPRY_OK;
}

spry_status onnx_read_attribute(onnx_context *c, wire_reader r, graph *g, graph_attribute *a)
{
    const wire_reader message = r;
    attribute_parts parts = {.stated = GRAPH_ATTRIBUTE_NONE};
    spry_status status = SPRY_OK;

    *a = (graph_attribute){.name = "", .doc = ""};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK) {
            status = scan_field(c, &r, &field, &parts, a);
        }
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (a->name[0] == '\0') {
        return wire_fail(&c->source, SPRY_BAD_INPUT, message.at, "an attribute has no name");
    }
    a->kind = parts.stated != GRAPH_ATTRIBUTE_NONE ? parts.stated : parts.seen;
    if (a->ref_name != NULL) {
        return SPRY_OK;
    }
    status = read_data(c, &message, &parts, g, a);
    if (status != SPRY_OK || !is_singular(a->kind) || a->count == 1) {
        return status;
    }
    if (a->count == 0) {
        return fill_default(c, &message, a);
    }
    return wire_fail(&c->source, SPRY_BAD_INPUT, message.at,
                     "attribute '%.200s' has %lld values instead of one", a->name,
                     (long long)a->count);
}
