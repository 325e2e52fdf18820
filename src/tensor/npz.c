/* Reading NPZ through libzip, with the limits that libzip does not have. */
#include "tensor/npz.h"

#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tensor/tensor_file.h"

enum { WHERE_BYTES = SPRY_ERROR_WHERE_SIZE, END_RECORD_BYTES = 22, COMMENT_BYTES = 65535 };

struct npz {
    spry_allocator allocator;
    zip_t *zip;
    char **names;
    int32_t count;
    char where[WHERE_BYTES];
};

struct npz_stream {
    spry_allocator allocator;
    zip_file_t *file;
    size_t size;
    char where[WHERE_BYTES];
};

static uint64_t read_little(const uint8_t *bytes, int count)
{
    uint64_t value = 0;

    for (int i = count - 1; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* Entries that the zip64 record announces to which the locator before `end` points; 0 if none. */
static uint64_t zip64_entries(const uint8_t *bytes, size_t size, size_t end)
{
    uint64_t record;

    if (end < 20 || memcmp(bytes + end - 20, "PK\6\7", 4) != 0) {
        return 0;
    }
    record = read_little(bytes + end - 20 + 8, 8);
    if (size < 56 || record > size - 56) {
        return 0; /* libzip refuses it */
    }
    return read_little(bytes + record + 32, 8);
}

/* libzip allocates room for as many entries as the archive announces: look before it does. Every
 * place is examined where the end record may lie. */
static spry_status check_announced_entries(const uint8_t *bytes, size_t size, const char *where,
                                           spry_error *error)
{
    size_t first =
        size > END_RECORD_BYTES + COMMENT_BYTES ? size - END_RECORD_BYTES - COMMENT_BYTES : 0;

    for (size_t at = first; at + END_RECORD_BYTES <= size; at++) {
        uint64_t entries;

        if (memcmp(bytes + at, "PK\5\6", 4) != 0) {
            continue;
        }
        entries = read_little(bytes + at + 10, 2);
        if (entries <= LIMIT_NPZ_ENTRIES) {
            entries = zip64_entries(bytes, size, at);
        }
        if (entries > LIMIT_NPZ_ENTRIES) {
            return spry_fail(error, SPRY_LIMIT, where, "split the archive",
                             "announces more than %d entries", LIMIT_NPZ_ENTRIES);
        }
    }
    return SPRY_OK;
}

static spry_status damaged(spry_error *error, const char *where, const char *detail)
{
    return spry_fail(error, SPRY_BAD_INPUT, where, "copy or save the file again",
                     "is not an intact NPZ archive: %s", detail);
}

static spry_status open_zip(npz *archive, const uint8_t *bytes, size_t size, spry_error *error)
{
    zip_error_t problem;
    zip_source_t *source;
    spry_status status = SPRY_OK;

    zip_error_init(&problem);
    source = zip_source_buffer_create(bytes, size, 0, &problem);
    if (source != NULL) {
        archive->zip = zip_open_from_source(source, ZIP_RDONLY, &problem);
    }
    if (archive->zip == NULL) {
        zip_source_free(source);
        status = zip_error_code_zip(&problem) == ZIP_ER_MEMORY
                     ? alloc_failed(error, size)
                     : damaged(error, archive->where, zip_error_strerror(&problem));
    }
    zip_error_fini(&problem);
    return status;
}

/* Two entries of one name are a way to show different content to different readers. */
static spry_status check_unique(npz *archive, spry_error *error)
{
    const char *twice = NULL;
    spry_status status = tensor_file_find_duplicate(
        &archive->allocator, archive->count, (const char *const *)archive->names, &twice, error);

    return status == SPRY_OK && twice != NULL
               ? damaged(error, archive->where, "two entries have the same name")
               : status;
}

static spry_status read_names(npz *archive, spry_error *error)
{
    zip_int64_t count = zip_get_num_entries(archive->zip, 0);

    if (count > LIMIT_NPZ_ENTRIES) {
        return spry_fail(error, SPRY_LIMIT, archive->where, "split the archive",
                         "has more than %d entries", LIMIT_NPZ_ENTRIES);
    }
    archive->names = alloc_array(&archive->allocator, (size_t)count, sizeof *archive->names);
    if (archive->names == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *archive->names);
    }
    archive->count = (int32_t)count;
    for (int32_t i = 0; i < archive->count; i++) {
        const char *name = zip_get_name(archive->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        size_t length = name != NULL ? strlen(name) : 0;

        if (length > LIMIT_NAME_BYTES) {
            return spry_fail(error, SPRY_LIMIT, archive->where, NULL,
                             "an entry's name is longer than %d bytes", LIMIT_NAME_BYTES);
        }
        if (length > 4 && strcmp(name + length - 4, ".npy") == 0) {
            length -= 4;
        }
        archive->names[i] = alloc_text(&archive->allocator, name != NULL ? name : "", length);
        if (archive->names[i] == NULL) {
            return alloc_failed(error, length + 1);
        }
    }
    return check_unique(archive, error);
}

spry_status npz_open(const spry_allocator *allocator, const uint8_t *bytes, size_t size,
                     const char *where, npz **result, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    npz *archive;
    spry_status status = check_announced_entries(bytes, size, where, error);

    *result = NULL;
    if (status != SPRY_OK) {
        return status;
    }
    archive = alloc_zeroed(&resolved, sizeof *archive);
    if (archive == NULL) {
        return alloc_failed(error, sizeof *archive);
    }
    archive->allocator = resolved;
    (void)snprintf(archive->where, sizeof archive->where, "%s", where);
    status = open_zip(archive, bytes, size, error);
    if (status == SPRY_OK) {
        status = read_names(archive, error);
    }
    if (status != SPRY_OK) {
        npz_close(archive);
        return status;
    }
    *result = archive;
    return SPRY_OK;
}

void npz_close(npz *archive)
{
    spry_allocator allocator;

    if (archive == NULL) {
        return;
    }
    allocator = archive->allocator;
    for (int32_t i = 0; i < archive->count; i++) {
        if (archive->names[i] != NULL) {
            alloc_release(&allocator, archive->names[i], strlen(archive->names[i]) + 1);
        }
    }
    alloc_release(&allocator, archive->names, (size_t)archive->count * sizeof *archive->names);
    if (archive->zip != NULL) {
        zip_discard(archive->zip);
    }
    alloc_release(&allocator, archive, sizeof *archive);
}

int32_t npz_count(const npz *archive)
{
    return archive->count;
}

const char *npz_name(const npz *archive, int32_t index)
{
    return archive->names[index];
}

static void entry_where(const npz *archive, int32_t index, char where[WHERE_BYTES])
{
    (void)snprintf(where, WHERE_BYTES, "%.300s: entry '%.100s'", archive->where,
                   archive->names[index]);
}

/* Size and compression of an entry, within the limits. */
static spry_status examine(npz *archive, int32_t index, const char *where, zip_stat_t *about,
                           spry_error *error)
{
    const zip_uint64_t wanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;

    if (zip_stat_index(archive->zip, (zip_uint64_t)index, 0, about) != 0 ||
        (about->valid & wanted) != wanted) {
        return damaged(error, where, "an entry has no size");
    }
    if ((about->valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 &&
        about->encryption_method != ZIP_EM_NONE) {
        return spry_fail(error, SPRY_UNSUPPORTED, where, "save it without a password",
                         "is encrypted");
    }
    if (about->comp_method != ZIP_CM_STORE && about->comp_method != ZIP_CM_DEFLATE) {
        return spry_fail(error, SPRY_UNSUPPORTED, where, "save it with numpy.savez",
                         "uses compression method %u; stored and deflated are known",
                         about->comp_method);
    }
    if (about->comp_method == ZIP_CM_STORE && about->size != about->comp_size) {
        return damaged(error, where, "a stored entry has two sizes");
    }
    if (about->size / LIMIT_NPZ_RATIO > about->comp_size || about->size > PTRDIFF_MAX) {
        return spry_fail(error, SPRY_LIMIT, where, "save it with numpy.savez (uncompressed)",
                         "expands more than %d times", LIMIT_NPZ_RATIO);
    }
    return SPRY_OK;
}

/* Reads exactly `size` bytes. */
static bool read_fully(zip_file_t *file, uint8_t *to, size_t size)
{
    size_t done = 0;

    while (done < size) {
        zip_int64_t got = zip_fread(file, to + done, size - done);

        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static spry_status open_entry(npz *archive, int32_t index, const char *where, zip_file_t **file,
                              spry_error *error)
{
    *file = zip_fopen_index(archive->zip, (zip_uint64_t)index, 0);
    return *file != NULL ? SPRY_OK : damaged(error, where, zip_strerror(archive->zip));
}

spry_status npz_layout(npz *archive, int32_t index, npy_layout *layout, bool *streamable,
                       spry_error *error)
{
    char where[WHERE_BYTES];
    zip_stat_t about;
    zip_file_t *file = NULL;
    uint8_t *head;
    const size_t head_bytes = NPY_PREAMBLE_BYTES + LIMIT_NPY_HEADER_BYTES;
    size_t size;
    spry_status status;

    entry_where(archive, index, where);
    status = examine(archive, index, where, &about, error);
    if (status == SPRY_OK) {
        status = open_entry(archive, index, where, &file, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    head = alloc_bytes(&archive->allocator, head_bytes);
    size = about.size < head_bytes ? (size_t)about.size : head_bytes;
    if (head == NULL) {
        status = alloc_failed(error, head_bytes);
    } else if (!read_fully(file, head, size)) {
        status = damaged(error, where, "an entry cannot be read");
    } else {
        status = npy_parse_header(head, size, where, layout, error);
    }
    alloc_release(&archive->allocator, head, head_bytes);
    (void)zip_fclose(file);
    if (status == SPRY_OK && about.size - layout->data_offset != layout->data_bytes) {
        status = damaged(error, where, "the data is shorter or longer than the header announces");
    }
    *streamable = status == SPRY_OK && about.comp_method == ZIP_CM_STORE && layout->text == 0 &&
                  !layout->swapped && (!layout->fortran || layout->rank <= 1);
    return status;
}

spry_status npz_read(npz *archive, int32_t index, tensor *t, spry_error *error)
{
    char where[WHERE_BYTES];
    npy_layout layout;
    bool streamable;
    zip_file_t *file = NULL;
    tensor block;
    int64_t size;
    spry_status status = npz_layout(archive, index, &layout, &streamable, error);

    *t = (tensor){0};
    if (status != SPRY_OK) {
        return status;
    }
    entry_where(archive, index, where);
    size = (int64_t)(layout.data_offset + layout.data_bytes);
    status = tensor_init_bytes(&block, &archive->allocator, size, error);
    if (status != SPRY_OK) {
        return status;
    }
    status = open_entry(archive, index, where, &file, error);
    if (status == SPRY_OK) {
        uint8_t extra;

        /* The read past the end makes libzip compare the checksum. */
        if (!read_fully(file, block.data, (size_t)size) || zip_fread(file, &extra, 1) != 0) {
            status = damaged(error, where, zip_file_strerror(file));
        }
        (void)zip_fclose(file);
    }
    if (status == SPRY_OK) {
        status =
            npy_read(&archive->allocator, block.data, (size_t)size, block.storage, where, t, error);
    }
    tensor_fini(&block);
    return status;
}

spry_status npz_stream_open(npz *archive, int32_t index, npz_stream **result, spry_error *error)
{
    char where[WHERE_BYTES];
    zip_stat_t about;
    npz_stream *stream;
    spry_status status;

    *result = NULL;
    entry_where(archive, index, where);
    status = examine(archive, index, where, &about, error);
    if (status != SPRY_OK) {
        return status;
    }
    stream = alloc_zeroed(&archive->allocator, sizeof *stream);
    if (stream == NULL) {
        return alloc_failed(error, sizeof *stream);
    }
    stream->allocator = archive->allocator;
    stream->size = (size_t)about.size;
    memcpy(stream->where, where, sizeof where);
    status = open_entry(archive, index, where, &stream->file, error);
    if (status != SPRY_OK) {
        npz_stream_close(stream);
        return status;
    }
    *result = stream;
    return SPRY_OK;
}

spry_status npz_stream_read(npz_stream *stream, size_t offset, void *to, size_t size,
                            spry_error *error)
{
    if (offset > stream->size || size > stream->size - offset ||
        zip_fseek(stream->file, (zip_int64_t)offset, SEEK_SET) != 0 ||
        !read_fully(stream->file, to, size)) {
        return damaged(error, stream->where, "a part of an entry cannot be read");
    }
    return SPRY_OK;
}

void npz_stream_close(npz_stream *stream)
{
    spry_allocator allocator;

    if (stream == NULL) {
        return;
    }
    allocator = stream->allocator;
    if (stream->file != NULL) {
        (void)zip_fclose(stream->file);
    }
    alloc_release(&allocator, stream, sizeof *stream);
}
