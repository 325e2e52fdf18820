/* TensorProto, SequenceProto and OptionalProto as values that own their memory. */
#include "model/onnx_value.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/limits.h"
#include "model/onnx_parse.h"

/* Fields of SequenceProto and OptionalProto. */
enum { ITEM_TENSOR = 3, ITEM_SPARSE = 4, ITEM_SEQUENCE = 5, ITEM_MAP = 6, ITEM_OPTIONAL = 7 };

typedef struct value_reader {
    onnx_context c;
    spry_allocator allocator;
} value_reader;

static spry_status read_tensor(value_reader *vr, wire_reader r, value *v)
{
    onnx_tensor read;
    spry_status status = onnx_read_tensor(&vr->c, r, &read);

    if (status == SPRY_OK) {
        status = tensor_init_copy(&v->tensor, &vr->allocator, &read.t, vr->c.source.error);
    }
    if (status == SPRY_OK) {
        v->kind = SPRY_VALUE_TENSOR;
        v->dtype = v->tensor.dtype;
    }
    return status;
}

static spry_status read_items(value_reader *vr, wire_reader r, bool is_sequence, value *v);

/* The message in an item field as a value. */
static spry_status read_item(value_reader *vr, const wire_reader *r, const wire_field *field,
                             value *v)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    if (status != SPRY_OK) {
        return status;
    }
    switch (field->number) {
    case ITEM_TENSOR: return read_tensor(vr, child, v);
    case ITEM_SEQUENCE: return read_items(vr, child, true, v);
    case ITEM_OPTIONAL: return read_items(vr, child, false, v);
    default:
        return wire_fail(r->source, SPRY_UNSUPPORTED, field->whole.data,
                         "sparse tensors and maps are not supported");
    }
}

static spry_status append_item(value_reader *vr, const wire_reader *r, const wire_field *field,
                               value *sequence)
{
    value *item = NULL;
    spry_status status = spry_value_none(&vr->allocator, &item, vr->c.source.error);

    if (status == SPRY_OK) {
        status = read_item(vr, r, field, item);
    }
    if (status != SPRY_OK) {
        spry_value_destroy(item);
        return status;
    }
    if (sequence->count == 0) {
        sequence->dtype = item->dtype;
    }
    return spry_value_append(sequence, item, vr->c.source.error);
}

/* Depth is bounded by wire_enter. */
static spry_status read_items(value_reader *vr, wire_reader r, bool is_sequence, value *v)
{
    spry_status status = SPRY_OK;

    v->kind = is_sequence ? SPRY_VALUE_SEQUENCE : SPRY_VALUE_NONE;
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status != SPRY_OK || field.number < ITEM_TENSOR || field.number > ITEM_OPTIONAL) {
            continue;
        }
        if (is_sequence) {
            status = append_item(vr, &r, &field, v);
        } else if (v->kind == SPRY_VALUE_NONE) {
            status = read_item(vr, &r, &field, v);
        }
    }
    return status;
}

spry_status onnx_read_value(const spry_allocator *allocator, const char *name, const void *bytes,
                            size_t size, const graph_type *type, value *v, spry_error *error)
{
    arena memory;
    size_t ceiling;
    value_reader vr = {.c = {.source = {name, bytes, error}, .memory = &memory},
                       .allocator = alloc_resolve(allocator)};
    wire_reader r = wire_open(&vr.c.source, bytes, size);
    spry_status status;

    if (!checked_mul(size, 2, &ceiling) ||
        !checked_add(ceiling, LIMIT_PARSE_SLACK_BYTES, &ceiling)) {
        return alloc_failed(error, size);
    }
    arena_init(&memory, &vr.allocator, ceiling);
    if (type->kind == GRAPH_TYPE_SEQUENCE || type->kind == GRAPH_TYPE_OPTIONAL) {
        status = read_items(&vr, r, type->kind == GRAPH_TYPE_SEQUENCE, v);
    } else {
        status = read_tensor(&vr, r, v);
    }
    arena_fini(&memory);
    if (status != SPRY_OK) {
        value_fini(v);
    }
    return status;
}
