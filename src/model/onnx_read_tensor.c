/* TensorProto and SparseTensorProto. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/limits.h"
#include "model/onnx_parse.h"
#include "model/weights.h"

enum {
    TENSOR_DIMS = 1,
    TENSOR_DATA_TYPE = 2,
    TENSOR_SEGMENT = 3,
    TENSOR_FLOAT_DATA = 4,
    TENSOR_INT32_DATA = 5,
    TENSOR_STRING_DATA = 6,
    TENSOR_INT64_DATA = 7,
    TENSOR_NAME = 8,
    TENSOR_RAW_DATA = 9,
    TENSOR_DOUBLE_DATA = 10,
    TENSOR_UINT64_DATA = 11,
    TENSOR_EXTERNAL_DATA = 13,
    TENSOR_DATA_LOCATION = 14,
    SPARSE_VALUES = 1,
    SPARSE_INDICES = 2,
    SPARSE_DIMS = 3
};

/* Which typed field carries the elements of a type, and how. */
typedef struct typed_field {
    uint32_t number;
    wire_type type;
    size_t size; /* bytes kept of each entry */
} typed_field;

static const typed_field typed_fields[SPRY_DTYPE_COUNT] = {
    [SPRY_DTYPE_F32] = {TENSOR_FLOAT_DATA, WIRE_FIXED32, 4},
    [SPRY_DTYPE_C64] = {TENSOR_FLOAT_DATA, WIRE_FIXED32, 4},
    [SPRY_DTYPE_F64] = {TENSOR_DOUBLE_DATA, WIRE_FIXED64, 8},
    [SPRY_DTYPE_C128] = {TENSOR_DOUBLE_DATA, WIRE_FIXED64, 8},
    [SPRY_DTYPE_I64] = {TENSOR_INT64_DATA, WIRE_VARINT, 8},
    [SPRY_DTYPE_U64] = {TENSOR_UINT64_DATA, WIRE_VARINT, 8},
    [SPRY_DTYPE_U32] = {TENSOR_UINT64_DATA, WIRE_VARINT, 4},
    [SPRY_DTYPE_I32] = {TENSOR_INT32_DATA, WIRE_VARINT, 4},
    [SPRY_DTYPE_U16] = {TENSOR_INT32_DATA, WIRE_VARINT, 2},
    [SPRY_DTYPE_I16] = {TENSOR_INT32_DATA, WIRE_VARINT, 2},
    [SPRY_DTYPE_F16] = {TENSOR_INT32_DATA, WIRE_VARINT, 2},
    [SPRY_DTYPE_BF16] = {TENSOR_INT32_DATA, WIRE_VARINT, 2},
    [SPRY_DTYPE_U8] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_I8] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_BOOL] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_F8E4M3FN] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_F8E4M3FNUZ] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_F8E5M2] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_F8E5M2FNUZ] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_F8E8M0] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_U4] = {TENSOR_INT32_DATA, WIRE_VARINT, 1}, /* an entry is a byte of two */
    [SPRY_DTYPE_I4] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_F4E2M1] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_U2] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
    [SPRY_DTYPE_I2] = {TENSOR_INT32_DATA, WIRE_VARINT, 1},
};

/* What one pass over the message finds. */
typedef struct tensor_parts {
    int32_t dtype;
    graph_bytes raw;
    bool has_raw;
    bool is_external;
    uint32_t typed; /* number of the typed field seen; 0: none */
    size_t strings;
    size_t string_bytes;
    bool has_dims;
} tensor_parts;

static spry_status scan_location(const wire_reader *r, const wire_field *field, tensor_parts *parts)
{
    if (field->integer > 1) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                         "unknown place of tensor data");
    }
    parts->is_external = field->integer == 1;
    return wire_expect(r, field, WIRE_VARINT);
}

static spry_status scan_typed(const wire_reader *r, const wire_field *field, tensor_parts *parts)
{
    if (parts->typed != 0 && parts->typed != field->number) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                         "a tensor has its elements in two fields");
    }
    parts->typed = field->number;
    if (field->number == TENSOR_STRING_DATA) {
        parts->strings++;
        parts->string_bytes += field->bytes.size;
        return wire_expect(r, field, WIRE_BYTES);
    }
    return SPRY_OK;
}

static spry_status scan_field(onnx_context *c, const wire_reader *r, const wire_field *field,
                              tensor_parts *parts, onnx_tensor *out)
{
    switch (field->number) {
    case TENSOR_DIMS: parts->has_dims = true; return SPRY_OK;
    case TENSOR_DATA_TYPE:
        parts->dtype = field->integer < SPRY_DTYPE_COUNT ? (int32_t)field->integer : -1;
        return wire_expect(r, field, WIRE_VARINT);
    case TENSOR_SEGMENT:
        return wire_fail(r->source, SPRY_UNSUPPORTED, field->whole.data,
                         "tensors in segments are not supported");
    case TENSOR_FLOAT_DATA:
    case TENSOR_INT32_DATA:
    case TENSOR_STRING_DATA:
    case TENSOR_INT64_DATA:
    case TENSOR_DOUBLE_DATA:
    case TENSOR_UINT64_DATA: return scan_typed(r, field, parts);
    case TENSOR_NAME: return onnx_read_name(c, r, field, &out->name);
    case TENSOR_RAW_DATA:
        parts->raw = field->bytes;
        parts->has_raw = true;
        return wire_expect(r, field, WIRE_BYTES);
    case TENSOR_EXTERNAL_DATA: return wire_expect(r, field, WIRE_BYTES);
    case TENSOR_DATA_LOCATION: return scan_location(r, field, parts);
    default: return wire_keep(c->memory, &out->unknown, field, c->source.error);
    }
}

/* Dimensions of field `number`, checked, into the tensor (dense, without data). */
static spry_status read_shape(onnx_context *c, const wire_reader *message, uint32_t number,
                              spry_dtype dtype, tensor *t)
{
    void *values;
    size_t rank;
    const int64_t *dims;
    spry_status status = wire_gather(message, number, WIRE_VARINT, sizeof *dims, LIMIT_TENSOR_RANK,
                                     c->memory, &values, &rank);

    if (status != SPRY_OK) {
        return status;
    }
    dims = values;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0 || dims[i] > LIMIT_TENSOR_DIMENSION) {
            return wire_fail(message->source, dims[i] < 0 ? SPRY_BAD_INPUT : SPRY_LIMIT,
                             message->at, "dimension %zu of a tensor is %lld", i,
                             (long long)dims[i]);
        }
    }
    status = tensor_init(t, dtype, (int)rank, dims, NULL, c->source.error);
    return status == SPRY_OK
               ? SPRY_OK
               : wire_fail(message->source, status, message->at, "a tensor has too many elements");
}

/* Natural alignment of one element. */
static size_t element_alignment(spry_dtype dtype)
{
    size_t bytes = spry_dtype_bits(dtype) / 8;

    if (dtype == SPRY_DTYPE_C64 || dtype == SPRY_DTYPE_C128) {
        bytes /= 2;
    }
    return bytes > 0 ? bytes : 1;
}

static bool has_odd_bools(const tensor *t, const uint8_t *data)
{
    uint8_t seen = 0;

    for (size_t i = 0; t->dtype == SPRY_DTYPE_BOOL && i < t->bytes; i++) {
        seen |= data[i];
    }
    return seen > 1;
}

/* Takes the elements from bytes in ONNX's raw layout (little-endian, dense). */
static spry_status use_raw(onnx_context *c, const wire_reader *message, graph_bytes raw,
                           bool is_external, tensor *t)
{
    uint8_t *copy;

    if (t->dtype == SPRY_DTYPE_STRING) {
        return wire_fail(message->source, SPRY_BAD_INPUT, message->at,
                         "a string tensor cannot have raw data");
    }
    if (raw.size != t->bytes) {
        return wire_fail(message->source, SPRY_BAD_INPUT, message->at,
                         "a tensor has %zu bytes of data but its shape needs %zu", raw.size,
                         t->bytes);
    }
    if (raw.size > 0 && (uintptr_t)raw.data % element_alignment(t->dtype) == 0 &&
        !has_odd_bools(t, raw.data)) {
        t->data = (void *)(uintptr_t)raw.data; /* read-only memory: initializers are const */
        return SPRY_OK;
    }
    /* External data may be shared, so what it can cost must count as memory of the model. */
    if (c->m != NULL && t->dtype == SPRY_DTYPE_F32 && raw.size >= MODEL_WEIGHTS_LEAST &&
        !is_external) {
        return model_weights_add(c->m, t, raw.data, c->source.error);
    }
    copy = arena_bytes(c->memory, raw.size);
    if (copy == NULL) {
        return alloc_failed(c->source.error, raw.size);
    }
    alloc_prefault(copy, raw.size);
    if (raw.size > 0) {
        memcpy(copy, raw.data, raw.size);
    }
    for (size_t i = 0; t->dtype == SPRY_DTYPE_BOOL && i < raw.size; i++) {
        copy[i] = copy[i] != 0;
    }
    t->data = copy;
    return SPRY_OK;
}

static spry_status use_strings(onnx_context *c, wire_reader r, const tensor_parts *parts, tensor *t)
{
    spry_text *texts;
    size_t count = 0;

    if ((int64_t)parts->strings != tensor_count(t)) {
        return wire_fail(r.source, SPRY_BAD_INPUT, r.at,
                         "a string tensor has %zu elements but its shape needs %lld",
                         parts->strings, (long long)tensor_count(t));
    }
    texts = arena_array(c->memory, parts->strings, sizeof *texts);
    if (texts == NULL) {
        return alloc_failed(c->source.error, parts->strings * sizeof *texts);
    }
    while (wire_more(&r)) {
        wire_field field;
        spry_status status = wire_next(&r, &field);

        if (status != SPRY_OK) {
            return status;
        }
        if (field.number == TENSOR_STRING_DATA) {
            texts[count++] = (spry_text){(const char *)field.bytes.data, field.bytes.size};
        }
    }
    t->data = texts;
    return SPRY_OK;
}

/* Takes the elements from the typed field of the tensor's type. */
static spry_status use_typed(onnx_context *c, const wire_reader *message, const tensor_parts *parts,
                             tensor *t)
{
    const typed_field *expected = &typed_fields[t->dtype];
    void *values = NULL;
    size_t count = 0;
    spry_status status;

    if (parts->typed != 0 && parts->typed != expected->number) {
        return wire_fail(message->source, SPRY_BAD_INPUT, message->at,
                         "elements of type %s cannot be in field %u", spry_dtype_name(t->dtype),
                         (unsigned)parts->typed);
    }
    status = wire_gather(message, expected->number, expected->type, expected->size,
                         t->bytes / expected->size, c->memory, &values, &count);
    if (status != SPRY_OK) {
        return status;
    }
    if (count != t->bytes / expected->size) {
        return wire_fail(message->source, SPRY_BAD_INPUT, message->at,
                         "a tensor has %zu numbers but its shape needs %zu", count,
                         t->bytes / expected->size);
    }
    t->data = values;
    for (size_t i = 0; t->dtype == SPRY_DTYPE_BOOL && i < count; i++) {
        ((uint8_t *)values)[i] = ((uint8_t *)values)[i] != 0;
    }
    return SPRY_OK;
}

static spry_status read_elements(onnx_context *c, const wire_reader *message,
                                 const tensor_parts *parts, tensor *t)
{
    graph_bytes raw = parts->raw;

    if (parts->is_external) {
        spry_status status = onnx_read_external(c, message, &raw);

        return status == SPRY_OK ? use_raw(c, message, raw, true, t) : status;
    }
    if (parts->has_raw && parts->typed != 0) {
        return wire_fail(message->source, SPRY_BAD_INPUT, message->at,
                         "a tensor has its elements in two fields");
    }
    if (parts->has_raw) {
        return use_raw(c, message, raw, false, t);
    }
    return t->dtype == SPRY_DTYPE_STRING ? use_strings(c, *message, parts, t)
                                         : use_typed(c, message, parts, t);
}

spry_status onnx_read_tensor(onnx_context *c, wire_reader r, onnx_tensor *out)
{
    const wire_reader message = r;
    tensor_parts parts = {0};
    spry_status status = SPRY_OK;

    *out = (onnx_tensor){.name = ""};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK) {
            status = scan_field(c, &r, &field, &parts, out);
        }
    }
    if (status == SPRY_OK && parts.dtype <= SPRY_DTYPE_NONE) {
        status = wire_fail(&c->source, SPRY_BAD_INPUT, message.at,
                           "tensor '%.200s' has no element type that ONNX knows", out->name);
    }
    if (status == SPRY_OK) {
        status = read_shape(c, &message, TENSOR_DIMS, (spry_dtype)parts.dtype, &out->t);
    }
    return status == SPRY_OK ? read_elements(c, &message, &parts, &out->t) : status;
}

/* ---- sparse ---- */

/* Offset of non-zero number `i`, from linear (rank 1) or per-axis (rank 2) indices. */
static bool sparse_offset(const tensor *indices, const tensor *dense, int64_t i, int64_t *offset)
{
    const int64_t *index = indices->data;
    int64_t sum = 0;

    if (indices->rank == 1) {
        *offset = index[i];
        return index[i] >= 0 && index[i] < tensor_count(dense);
    }
    for (int axis = 0; axis < dense->rank; axis++) {
        int64_t at = index[i * dense->rank + axis];

        if (at < 0 || at >= dense->shape[axis]) {
            return false;
        }
        sum = sum * dense->shape[axis] + at;
    }
    *offset = sum;
    return true;
}

static bool sparse_fits(const tensor *values, const tensor *indices, const tensor *dense)
{
    unsigned bits = spry_dtype_bits(values->dtype);

    if (values->rank != 1 || indices->dtype != SPRY_DTYPE_I64 || bits < 8 ||
        (indices->rank != 1 && indices->rank != 2) || indices->shape[0] != values->shape[0]) {
        return false;
    }
    return indices->rank == 1 || indices->shape[1] == dense->rank;
}

static spry_status scatter(onnx_context *c, const wire_reader *message, const tensor *values,
                           const tensor *indices, tensor *dense)
{
    size_t size = spry_dtype_bits(values->dtype) / 8;
    uint8_t *data = arena_zeroed(c->memory, dense->bytes);

    if (data == NULL) {
        return wire_fail(message->source, SPRY_UNSUPPORTED, message->at,
                         "a sparse tensor of %zu bytes is too large to be made dense",
                         dense->bytes);
    }
    for (int64_t i = 0; i < values->shape[0]; i++) {
        int64_t offset;

        if (!sparse_offset(indices, dense, i, &offset)) {
            return wire_fail(message->source, SPRY_BAD_INPUT, message->at,
                             "an index of a sparse tensor lies outside its shape");
        }
        memcpy(data + (size_t)offset * size, (const uint8_t *)values->data + (size_t)i * size,
               size);
    }
    dense->data = data;
    return SPRY_OK;
}

spry_status onnx_read_sparse(onnx_context *c, wire_reader r, onnx_tensor *out)
{
    const wire_reader message = r;
    onnx_tensor values = {.name = ""};
    onnx_tensor indices = {.name = ""};
    spry_status status = SPRY_OK;

    *out = (onnx_tensor){.name = ""};
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status != SPRY_OK ||
            (field.number != SPARSE_VALUES && field.number != SPARSE_INDICES)) {
            continue;
        }
        status = wire_enter(&r, &field, &child);
        if (status == SPRY_OK) {
            status = onnx_read_tensor(c, child, field.number == SPARSE_VALUES ? &values : &indices);
        }
    }
    if (status == SPRY_OK && values.t.data != NULL) {
        status = read_shape(c, &message, SPARSE_DIMS, values.t.dtype, &out->t);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (values.t.data == NULL || indices.t.data == NULL ||
        !sparse_fits(&values.t, &indices.t, &out->t)) {
        return wire_fail(&c->source, SPRY_BAD_INPUT, message.at,
                         "values and indices of a sparse tensor do not fit each other");
    }
    out->name = values.name;
    return scatter(c, &message, &values.t, &indices.t, &out->t);
}
