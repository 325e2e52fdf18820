/* Reading the protobuf wire format. */
#include "model/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/text.h"

enum { VARINT_BYTES = 10, TAG_TYPE_BITS = 3 };

wire_reader wire_open(const wire_source *source, const uint8_t *bytes, size_t size)
{
    return (wire_reader){.source = source, .at = bytes, .end = size > 0 ? bytes + size : bytes};
}

bool wire_more(const wire_reader *r)
{
    return r->at < r->end;
}

spry_status wire_fail(const wire_source *source, spry_status code, const uint8_t *at,
                      const char *format, ...)
{
    char what[SPRY_ERROR_WHAT_SIZE];
    char where[SPRY_ERROR_WHERE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    (void)snprintf(where, sizeof where, "%.400s, byte %td", source->name, at - source->base);
    return spry_fail(source->error, code, where, NULL, "%s", what);
}

static spry_status read_varint(const wire_source *source, const uint8_t **at, const uint8_t *end,
                               uint64_t *number)
{
    const uint8_t *p = *at;
    uint64_t value = 0;

    for (int i = 0; i < VARINT_BYTES && p < end; i++, p++) {
        value |= (uint64_t)(*p & 0x7f) << (7 * i);
        if (*p < 0x80) {
            if (i == VARINT_BYTES - 1 && *p > 1) {
                break;
            }
            *number = value;
            *at = p + 1;
            return SPRY_OK;
        }
    }
    return wire_fail(source, SPRY_BAD_INPUT, *at, "a number is cut off or longer than 64 bits");
}

/* `size` little-endian bytes. */
static spry_status read_fixed(const wire_source *source, const uint8_t **at, const uint8_t *end,
                              int size, uint64_t *number)
{
    uint64_t value = 0;

    if (end - *at < size) {
        return wire_fail(source, SPRY_BAD_INPUT, *at, "a number is cut off");
    }
    for (int i = 0; i < size; i++) {
        value |= (uint64_t)(*at)[i] << (8 * i);
    }
    *number = value;
    *at += size;
    return SPRY_OK;
}

static spry_status read_bytes(wire_reader *r, graph_bytes *bytes)
{
    const uint8_t *start = r->at;
    uint64_t size;
    spry_status status = read_varint(r->source, &r->at, r->end, &size);

    if (status != SPRY_OK) {
        return status;
    }
    if (size > (uint64_t)(r->end - r->at)) {
        return wire_fail(r->source, SPRY_BAD_INPUT, start,
                         "a field claims %llu bytes but %td are left", (unsigned long long)size,
                         r->end - r->at);
    }
    *bytes = (graph_bytes){r->at, (size_t)size};
    r->at += size;
    return SPRY_OK;
}

/* A number of the given type at *at. */
static spry_status read_number(const wire_source *source, wire_type type, const uint8_t **at,
                               const uint8_t *end, uint64_t *number)
{
    if (type == WIRE_VARINT) {
        return read_varint(source, at, end, number);
    }
    return read_fixed(source, at, end, type == WIRE_FIXED64 ? 8 : 4, number);
}

spry_status wire_next(wire_reader *r, wire_field *field)
{
    const uint8_t *start = r->at;
    uint64_t tag;
    spry_status status = read_varint(r->source, &r->at, r->end, &tag);

    if (status != SPRY_OK) {
        return status;
    }
    if (tag >> TAG_TYPE_BITS == 0 || tag > UINT32_MAX) {
        return wire_fail(r->source, SPRY_BAD_INPUT, start, "a field has an impossible number");
    }
    if (++r->fields > LIMIT_PROTOBUF_FIELDS) {
        return wire_fail(r->source, SPRY_LIMIT, start, "a message has more than %d fields",
                         LIMIT_PROTOBUF_FIELDS);
    }
    *field = (wire_field){.number = (uint32_t)(tag >> TAG_TYPE_BITS), .type = (wire_type)(tag & 7)};
    switch (field->type) {
    case WIRE_VARINT:
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        status = read_number(r->source, field->type, &r->at, r->end, &field->integer);
        break;
    case WIRE_BYTES: status = read_bytes(r, &field->bytes); break;
    default:
        return wire_fail(r->source, SPRY_BAD_INPUT, start, "field %u has wire type %u",
                         (unsigned)field->number, (unsigned)field->type);
    }
    field->whole = (graph_bytes){start, (size_t)(r->at - start)};
    return status;
}

spry_status wire_expect(const wire_reader *r, const wire_field *field, wire_type type)
{
    if (field->type != type) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                         "field %u has wire type %u instead of %u", (unsigned)field->number,
                         (unsigned)field->type, (unsigned)type);
    }
    return SPRY_OK;
}

spry_status wire_enter(const wire_reader *r, const wire_field *field, wire_reader *child)
{
    spry_status status = wire_expect(r, field, WIRE_BYTES);

    if (status != SPRY_OK) {
        return status;
    }
    if (r->depth + 1 > LIMIT_PROTOBUF_DEPTH) {
        return wire_fail(r->source, SPRY_LIMIT, field->whole.data, "messages nest deeper than %d",
                         LIMIT_PROTOBUF_DEPTH);
    }
    *child = wire_open(r->source, field->bytes.data, field->bytes.size);
    child->depth = r->depth + 1;
    return SPRY_OK;
}

spry_status wire_keep(arena *memory, graph_bytes *kept, const wire_field *field, spry_error *error)
{
    uint8_t *joined;

    if (kept->size == 0) {
        *kept = field->whole;
        return SPRY_OK;
    }
    if (kept->data + kept->size == field->whole.data) {
        kept->size += field->whole.size;
        return SPRY_OK;
    }
    joined = arena_bytes(memory, kept->size + field->whole.size);
    if (joined == NULL) {
        return alloc_failed(error, kept->size + field->whole.size);
    }
    memcpy(joined, kept->data, kept->size);
    memcpy(joined + kept->size, field->whole.data, field->whole.size);
    *kept = (graph_bytes){joined, kept->size + field->whole.size};
    return SPRY_OK;
}

/* What wire_gather does with the values it meets: counts them, or stores them. */
typedef struct gatherer {
    wire_type type;
    uint8_t *to; /* NULL: count only */
    size_t size;
    size_t count;
    size_t ceiling;
} gatherer;

static spry_status gather_value(gatherer *g, const wire_source *source, const uint8_t *at,
                                uint64_t integer)
{
    if (g->count == g->ceiling) {
        return wire_fail(source, SPRY_LIMIT, at, "a list has more than %zu numbers", g->ceiling);
    }
    if (g->to != NULL) {
        for (size_t i = 0; i < g->size; i++) {
            g->to[g->count * g->size + i] = (uint8_t)(integer >> (8 * i));
        }
    }
    g->count++;
    return SPRY_OK;
}

static spry_status gather_packed(gatherer *g, const wire_reader *r, const wire_field *field)
{
    const uint8_t *at = field->bytes.data;
    spry_status status = wire_expect(r, field, WIRE_BYTES);
    const uint8_t *end = status == SPRY_OK ? at + field->bytes.size : at;

    while (status == SPRY_OK && at < end) {
        uint64_t integer;

        status = read_number(r->source, g->type, &at, end, &integer);
        if (status == SPRY_OK) {
            status = gather_value(g, r->source, at, integer);
        }
    }
    return status;
}

static spry_status gather_all(gatherer *g, wire_reader message, uint32_t number)
{
    spry_status status = SPRY_OK;

    g->count = 0;
    while (status == SPRY_OK && wire_more(&message)) {
        wire_field field;

        status = wire_next(&message, &field);
        if (status != SPRY_OK || field.number != number) {
            continue;
        }
        status = field.type == g->type
                     ? gather_value(g, message.source, field.whole.data, field.integer)
                     : gather_packed(g, &message, &field);
    }
    return status;
}

spry_status wire_gather(const wire_reader *message, uint32_t number, wire_type type, size_t size,
                        size_t ceiling, arena *memory, void **values, size_t *count)
{
    gatherer g = {.type = type, .size = size, .ceiling = ceiling};
    spry_status status = gather_all(&g, *message, number);

    *values = NULL;
    *count = 0;
    if (status != SPRY_OK) {
        return status;
    }
    g.to = arena_array(memory, g.count, size);
    if (g.to == NULL) {
        return alloc_failed(message->source->error, g.count * size);
    }
    *values = g.to;
    *count = g.count;
    return gather_all(&g, *message, number);
}

bool wire_is_text(graph_bytes bytes)
{
    return bytes.size == 0 || (memchr(bytes.data, 0, bytes.size) == NULL &&
                               text_is_utf8((const char *)bytes.data, bytes.size));
}
