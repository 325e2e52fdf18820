/* Reading of class names. */
#include "cli/labels.h"

#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/text.h"

#define FILE_BYTES_MOST ((uint64_t)16 << 20)

static int64_t count_lines(const char *bytes, size_t size)
{
    int64_t count = 0;

    for (size_t i = 0; i < size; i++) {
        count += bytes[i] == '\n';
    }
    return count + (size > 0 && bytes[size - 1] != '\n');
}

static spry_status take_lines(labels *l, const char *bytes, size_t size, spry_error *error)
{
    int64_t count = count_lines(bytes, size);

    l->names = arena_array(&l->memory, (size_t)count + 1, sizeof *l->names);
    if (l->names == NULL) {
        return alloc_failed(error, size);
    }
    while (l->count < count) {
        const char *end = memchr(bytes, '\n', size);
        size_t whole = end != NULL ? (size_t)(end - bytes) + 1 : size;
        size_t length = end != NULL ? whole - 1 : whole;

        length -= length > 0 && bytes[length - 1] == '\r';
        l->names[l->count] = arena_text(&l->memory, bytes, length);
        if (l->names[l->count] == NULL) {
            return alloc_failed(error, length);
        }
        l->count++;
        bytes += whole;
        size -= whole;
    }
    return SPRY_OK;
}

spry_status labels_open(labels *l, const char *path, spry_error *error)
{
    file_map map;
    spry_status status;

    *l = (labels){0};
    arena_init(&l->memory, NULL, SIZE_MAX);
    if (path == NULL) {
        return SPRY_OK;
    }
    status = file_map_open(path, FILE_BYTES_MOST, &map, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (text_is_utf8((const char *)map.data, map.size)) {
        status = take_lines(l, (const char *)map.data, map.size, error);
    } else {
        status = spry_fail(error, SPRY_BAD_INPUT, path, "give a text file with one name per line",
                           "it is not UTF-8 text");
    }
    file_map_close(&map);
    return status;
}

void labels_close(labels *l)
{
    arena_fini(&l->memory);
}

const char *labels_at(const labels *l, int64_t index)
{
    return index >= 0 && index < l->count ? l->names[index] : NULL;
}
