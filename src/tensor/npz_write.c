/* Writing NPZ: a zip archive of stored entries, laid out here because every entry is produced twice
 * (once for its checksum, once for good) instead of being held in memory.
 *
 *   local header, name, NPY | local header, name, NPY | ... | directory | end record */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tensor/npz.h"

enum { LOCAL_BYTES = 30, DIRECTORY_BYTES = 46, END_BYTES = 22, NAME_FLAG_UTF8 = 0x0800 };

/* What the directory repeats about an entry. */
typedef struct entry {
    uint32_t crc;
    uint32_t size;
    uint32_t offset;
} entry;

static size_t put(uint8_t *to, size_t at, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        to[at + (size_t)i] = (uint8_t)(value >> (8 * i));
    }
    return at + (size_t)bytes;
}

/* Version, flags, method, time, date, checksum, sizes, name length, extra length: the 26 bytes that
 * local header and directory have in common. 1 January 1980: the same input, the same bytes. */
static size_t put_common(uint8_t *to, size_t at, const entry *e, size_t name_bytes)
{
    at = put(to, at, 20, 2);
    at = put(to, at, NAME_FLAG_UTF8, 2);
    at = put(to, at, 0, 2);
    at = put(to, at, 0, 2);
    at = put(to, at, 0x21, 2);
    at = put(to, at, e->crc, 4);
    at = put(to, at, e->size, 4);
    at = put(to, at, e->size, 4);
    at = put(to, at, (uint32_t)name_bytes, 2);
    return put(to, at, 0, 2);
}

static spry_status sum_sink(void *context, const void *bytes, size_t size, spry_error *error)
{
    entry *e = context;

    (void)error;
    e->crc = (uint32_t)crc32_z(e->crc, bytes, size);
    return SPRY_OK;
}

static spry_status file_sink(void *context, const void *bytes, size_t size, spry_error *error)
{
    return file_writer_append(context, bytes, size, error);
}

static spry_status too_large(spry_error *error)
{
    return spry_fail(error, SPRY_LIMIT, "NPZ", "save as .safetensors",
                     "archives of 4 GiB and more are not written");
}

static spry_status append_name(file_writer *writer, const char *name, spry_error *error)
{
    spry_status status = file_writer_append(writer, name, strlen(name), error);

    return status == SPRY_OK ? file_writer_append(writer, ".npy", 4, error) : status;
}

static spry_status append_entry(file_writer *writer, const char *name, const tensor *t, entry *e,
                                spry_error *error)
{
    uint8_t header[LOCAL_BYTES] = {'P', 'K', 3, 4};
    size_t size;
    spry_status status = npy_size(t, &size, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (size > UINT32_MAX - 1 || file_writer_offset(writer) > UINT32_MAX - 1) {
        return too_large(error);
    }
    *e = (entry){.crc = (uint32_t)crc32_z(0, NULL, 0),
                 .size = (uint32_t)size,
                 .offset = (uint32_t)file_writer_offset(writer)};
    status = npy_write(t, sum_sink, e, error);
    if (status != SPRY_OK) {
        return status;
    }
    (void)put_common(header, 4, e, strlen(name) + 4);
    status = file_writer_append(writer, header, sizeof header, error);
    if (status == SPRY_OK) {
        status = append_name(writer, name, error);
    }
    return status == SPRY_OK ? npy_write(t, file_sink, writer, error) : status;
}

static spry_status append_directory(file_writer *writer, int32_t count, const char *const *names,
                                    const entry *entries, spry_error *error)
{
    uint64_t start = file_writer_offset(writer);
    uint8_t end[END_BYTES] = {'P', 'K', 5, 6};
    spry_status status = SPRY_OK;
    size_t at;

    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        uint8_t record[DIRECTORY_BYTES] = {'P', 'K', 1, 2, 20, 0};

        at = put_common(record, 6, &entries[i], strlen(names[i]) + 4);
        at += 2 + 2 + 2 + 4; /* comment, disk, attributes: zero */
        (void)put(record, at, entries[i].offset, 4);
        status = file_writer_append(writer, record, sizeof record, error);
        if (status == SPRY_OK) {
            status = append_name(writer, names[i], error);
        }
    }
    if (status == SPRY_OK && file_writer_offset(writer) > UINT32_MAX - 1) {
        status = too_large(error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    at = put(end, 8, (uint32_t)count, 2);
    at = put(end, at, (uint32_t)count, 2);
    at = put(end, at, (uint32_t)(file_writer_offset(writer) - start), 4);
    (void)put(end, at, (uint32_t)start, 4);
    return file_writer_append(writer, end, sizeof end, error);
}

spry_status npz_save(const char *path, int32_t count, const char *const *names,
                     const tensor *const *tensors, spry_error *error)
{
    spry_allocator allocator = alloc_resolve(NULL);
    file_writer *writer = NULL;
    entry *entries;
    spry_status status;

    if (count > LIMIT_NPZ_ENTRIES) {
        return spry_fail(error, SPRY_LIMIT, path, "save as .safetensors",
                         "an NPZ archive may have at most %d entries", LIMIT_NPZ_ENTRIES);
    }
    entries = alloc_array(&allocator, (size_t)count, sizeof *entries);
    if (entries == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *entries);
    }
    status = file_writer_open(&allocator, path, &writer, error);
    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        status = append_entry(writer, names[i], tensors[i], &entries[i], error);
    }
    if (status == SPRY_OK) {
        status = append_directory(writer, count, names, entries, error);
    }
    if (status == SPRY_OK) {
        status = file_writer_commit(writer, error);
    }
    file_writer_close(writer);
    alloc_release(&allocator, entries, (size_t)count * sizeof *entries);
    return status;
}
