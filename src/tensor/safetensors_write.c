/* Writing safetensors. The header is padded so that the data starts on a cache line; tensors come
 * in order of falling alignment, so that each starts at a multiple of its element size. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/limits.h"
#include "tensor/safetensors.h"

enum { DATA_ALIGNMENT = 64 };

/* A tensor to write; its index in the caller's arrays breaks ties: the order is always the same. */
typedef struct part {
    const char *name;
    const tensor *t;
    int32_t index;
} part;

/* Header text: counted first (text NULL), then written. */
typedef struct header {
    char *text;
    size_t size;
} header;

static void put(header *h, const char *bytes, size_t size)
{
    if (h->text != NULL) {
        memcpy(h->text + h->size, bytes, size);
    }
    h->size += size;
}

static void put_text(header *h, const char *text)
{
    put(h, text, strlen(text));
}

static void put_number(header *h, uint64_t value)
{
    char digits[24];

    (void)snprintf(digits, sizeof digits, "%" PRIu64, value);
    put_text(h, digits);
}

static void put_quoted(header *h, const char *text)
{
    put(h, "\"", 1);
    for (const char *p = text; *p != '\0'; p++) {
        char escaped[8];

        if ((unsigned char)*p < 0x20) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)(unsigned char)*p);
            put_text(h, escaped);
        } else {
            if (*p == '"' || *p == '\\') {
                put(h, "\\", 1);
            }
            put(h, p, 1);
        }
    }
    put(h, "\"", 1);
}

static void put_notes(header *h, int32_t count, const safetensors_note *notes)
{
    put_text(h, "\"__metadata__\":{");
    for (int32_t i = 0; i < count; i++) {
        put_text(h, i > 0 ? "," : "");
        put_quoted(h, notes[i].key);
        put_text(h, ":");
        put_quoted(h, notes[i].text);
    }
    put_text(h, "}");
}

static void compose(header *h, const part *parts, int32_t count, int32_t note_count,
                    const safetensors_note *notes)
{
    uint64_t offset = 0;

    put_text(h, "{");
    if (note_count > 0) {
        put_notes(h, note_count, notes);
        put_text(h, count > 0 ? "," : "");
    }
    for (int32_t i = 0; i < count; i++) {
        const tensor *t = parts[i].t;

        put_text(h, i > 0 ? "," : "");
        put_quoted(h, parts[i].name);
        put_text(h, ":{\"dtype\":\"");
        put_text(h, safetensors_dtype_name(t->dtype));
        put_text(h, "\",\"shape\":[");
        for (int axis = 0; axis < t->rank; axis++) {
            put_text(h, axis > 0 ? "," : "");
            put_number(h, (uint64_t)t->shape[axis]);
        }
        put_text(h, "],\"data_offsets\":[");
        put_number(h, offset);
        offset += t->bytes;
        put_text(h, ",");
        put_number(h, offset);
        put_text(h, "]}");
    }
    put_text(h, "}");
    while ((8 + h->size) % DATA_ALIGNMENT != 0) {
        put(h, " ", 1);
    }
}

static int compare_parts(const void *a, const void *b)
{
    const part *x = a;
    const part *y = b;
    unsigned x_bits = spry_dtype_bits(x->t->dtype);
    unsigned y_bits = spry_dtype_bits(y->t->dtype);

    if (x_bits != y_bits) {
        return x_bits > y_bits ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

static spry_status write_file(const char *path, const header *h, const part *parts, int32_t count,
                              spry_error *error)
{
    file_writer *writer = NULL;
    uint8_t length[8];
    spry_status status = file_writer_open(NULL, path, &writer, error);

    for (int i = 0; i < 8; i++) {
        length[i] = (uint8_t)(h->size >> (8 * i));
    }
    if (status == SPRY_OK) {
        status = file_writer_append(writer, length, sizeof length, error);
    }
    if (status == SPRY_OK) {
        status = file_writer_append(writer, h->text, h->size, error);
    }
    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        if (parts[i].t->bytes > 0) {
            status = file_writer_append(writer, parts[i].t->data, parts[i].t->bytes, error);
        }
    }
    if (status == SPRY_OK) {
        status = file_writer_commit(writer, error);
    }
    file_writer_close(writer);
    return status;
}

static spry_status collect(const char *path, int32_t count, const char *const *names,
                           const tensor *const *tensors, part *parts, spry_error *error)
{
    for (int32_t i = 0; i < count; i++) {
        if (safetensors_dtype_name(tensors[i]->dtype) == NULL) {
            return spry_fail(error, SPRY_UNSUPPORTED, path, "convert it or save as .npz",
                             "safetensors has no type for '%.100s' (%s)", names[i],
                             spry_dtype_name(tensors[i]->dtype));
        }
        if (strcmp(names[i], "__metadata__") == 0 || strlen(names[i]) > LIMIT_NAME_BYTES) {
            return spry_fail(error, SPRY_USAGE, path, "choose another name",
                             "'%.100s' cannot be the name of a tensor", names[i]);
        }
        parts[i] = (part){names[i], tensors[i], i};
    }
    if (count > 0) {
        qsort(parts, (size_t)count, sizeof *parts, compare_parts);
    }
    return SPRY_OK;
}

spry_status safetensors_save(const char *path, int32_t count, const char *const *names,
                             const tensor *const *tensors, int32_t note_count,
                             const safetensors_note *notes, spry_error *error)
{
    spry_allocator allocator = alloc_resolve(NULL);
    size_t part_bytes = (size_t)count * sizeof(part);
    header h = {NULL, 0};
    size_t header_bytes = 0;
    part *parts;
    spry_status status;

    if (count > LIMIT_SAFETENSORS_ENTRIES) {
        return spry_fail(error, SPRY_LIMIT, path, NULL, "at most %d tensors fit into one file",
                         LIMIT_SAFETENSORS_ENTRIES);
    }
    parts = alloc_bytes(&allocator, part_bytes);
    if (parts == NULL) {
        return alloc_failed(error, part_bytes);
    }
    status = collect(path, count, names, tensors, parts, error);
    if (status == SPRY_OK) {
        compose(&h, parts, count, note_count, notes);
        header_bytes = h.size;
        h = (header){alloc_bytes(&allocator, header_bytes), 0};
        if (h.text == NULL) {
            status = alloc_failed(error, header_bytes);
        }
    }
    if (status == SPRY_OK) {
        compose(&h, parts, count, note_count, notes);
        status = write_file(path, &h, parts, count, error);
    }
    alloc_release(&allocator, h.text, header_bytes);
    alloc_release(&allocator, parts, part_bytes);
    return status;
}
