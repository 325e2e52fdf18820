/* Weights in files beside the model. The location is hostile data: files are opened beneath the
 * model's folder only, each once, and every range is checked against the file's real size. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/hash64.h"
#include "base/limits.h"
#include "model/onnx_parse.h"

enum { TENSOR_EXTERNAL_DATA = 13, ENTRY_KEY = 1, ENTRY_VALUE = 2 };

typedef struct external_place {
    const char *location;
    uint64_t offset;
    uint64_t length;
    bool has_length;
} external_place;

/* A decimal number and nothing else. */
static bool parse_number(graph_bytes text, uint64_t *number)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';

        if (text.data[i] < '0' || digit > 9 || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *number = value;
    return text.size > 0;
}

static bool is_key(graph_bytes key, const char *name)
{
    return key.size == strlen(name) && memcmp(key.data, name, key.size) == 0;
}

/* Reads one StringStringEntryProto. Keys that do not say where the bytes are have no effect. */
static spry_status read_entry(onnx_context *c, wire_reader r, external_place *place)
{
    const wire_reader start = r;
    wire_field key = {0};
    wire_field text = {0};
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK && (field.number == ENTRY_KEY || field.number == ENTRY_VALUE)) {
            *(field.number == ENTRY_KEY ? &key : &text) = field;
            status = wire_expect(&r, &field, WIRE_BYTES);
        }
    }
    if (status != SPRY_OK || key.bytes.data == NULL || text.bytes.data == NULL) {
        return status;
    }
    if (is_key(key.bytes, "location")) {
        return onnx_read_name(c, &r, &text, &place->location);
    }
    if (is_key(key.bytes, "length")) {
        place->has_length = true;
    }
    if ((is_key(key.bytes, "length") && !parse_number(text.bytes, &place->length)) ||
        (is_key(key.bytes, "offset") && !parse_number(text.bytes, &place->offset))) {
        return wire_fail(r.source, SPRY_BAD_INPUT, start.at,
                         "offset or length of external data is not a number");
    }
    return SPRY_OK;
}

static void unmap(void *context, void *data, size_t bytes)
{
    file_map map = {.data = data, .size = bytes};

    (void)context;
    file_map_close(&map);
}

spry_status onnx_map_storage(const spry_allocator *allocator, file_map *map,
                             tensor_storage **storage, spry_error *error)
{
    *storage =
        tensor_storage_create(allocator, (void *)(uintptr_t)map->data, map->size, unmap, NULL);
    if (*storage == NULL) {
        file_map_close(map);
        return alloc_failed(error, sizeof *map);
    }
    return SPRY_OK;
}

/* The mapped file of that location, opened on first use. */
static spry_status find_file(onnx_context *c, const char *location, model_file **found)
{
    model *m = c->m;
    model_file *file = m->externals;
    file_map map;
    spry_status status;

    while (file != NULL && strcmp(file->location, location) != 0) {
        file = file->next;
    }
    *found = file;
    if (file != NULL) {
        return SPRY_OK;
    }
    status = file_map_open_beneath(m->folder, location, LIMIT_MODEL_BYTES, &map, c->source.error);
    if (status != SPRY_OK) {
        return status;
    }
    file = arena_zeroed(c->memory, sizeof *file);
    if (file == NULL) {
        file_map_close(&map);
        return alloc_failed(c->source.error, sizeof *file);
    }
    status = onnx_map_storage(&m->allocator, &map, &file->map, c->source.error);
    if (status != SPRY_OK) {
        return status;
    }
    file->location = location;
    file->bytes = (graph_bytes){map.data, map.size};
    m->identity = hash64(&map.identity, sizeof map.identity, m->identity);
    file->next = m->externals;
    m->externals = file;
    *found = file;
    /* Misaligned tensors of that file are copied, and it counts as part of the model. */
    return checked_add(c->memory->ceiling, map.size, &c->memory->ceiling)
               ? SPRY_OK
               : alloc_failed(c->source.error, map.size);
}

spry_status onnx_read_external(onnx_context *c, const wire_reader *message, graph_bytes *bytes)
{
    wire_reader r = *message;
    external_place place = {0};
    model_file *file;
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;
        wire_reader child;

        status = wire_next(&r, &field);
        if (status != SPRY_OK || field.number != TENSOR_EXTERNAL_DATA) {
            continue;
        }
        status = wire_enter(&r, &field, &child);
        if (status == SPRY_OK) {
            status = read_entry(c, child, &place);
        }
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (place.location == NULL) {
        return wire_fail(&c->source, SPRY_BAD_INPUT, message->at, "external data has no location");
    }
    if (c->m == NULL || c->m->folder == NULL) {
        return wire_fail(&c->source, SPRY_BAD_INPUT, message->at,
                         "external data is not allowed here");
    }
    status = find_file(c, place.location, &file);
    if (status != SPRY_OK) {
        return status;
    }
    if (place.offset > file->bytes.size ||
        (place.has_length && place.length > file->bytes.size - place.offset)) {
        return wire_fail(&c->source, SPRY_BAD_INPUT, message->at,
                         "external data reaches beyond the end of '%.200s'", place.location);
    }
    *bytes = (graph_bytes){file->bytes.data + place.offset,
                           place.has_length ? (size_t)place.length
                                            : file->bytes.size - (size_t)place.offset};
    return SPRY_OK;
}

void onnx_close_externals(model *m)
{
    for (model_file *file = m->externals; file != NULL; file = file->next) {
        tensor_storage_drop(file->map);
    }
    m->externals = NULL;
}
