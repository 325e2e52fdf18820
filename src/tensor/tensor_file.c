/* Tensors in files: picks the format by the file's extension. */
#include "spry/tensor_file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "tensor/npy.h"
#include "tensor/npz.h"
#include "tensor/safetensors.h"
#include "tensor/tensor_file.h"

typedef enum file_format {
    FORMAT_UNKNOWN,
    FORMAT_NPY,
    FORMAT_NPZ,
    FORMAT_SAFETENSORS,
    FORMAT_RAW
} file_format;

typedef struct format_row {
    const char *extension;
    file_format format;
} format_row;

static const format_row format_rows[] = {
    {".npy", FORMAT_NPY}, {".npz", FORMAT_NPZ}, {".safetensors", FORMAT_SAFETENSORS},
    {".bin", FORMAT_RAW}, {".raw", FORMAT_RAW},
};

static file_format format_of(const char *path)
{
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot != NULL && i < sizeof format_rows / sizeof format_rows[0]; i++) {
        if (strcasecmp(dot, format_rows[i].extension) == 0) {
            return format_rows[i].format;
        }
    }
    return FORMAT_UNKNOWN;
}

static spry_status unknown_format(const char *path, spry_error *error)
{
    return spry_fail(error, SPRY_UNSUPPORTED, path, "use .npy, .npz, .safetensors, .bin or .raw",
                     "the extension does not name a tensor format that fits here");
}

/* --- mapped files ---------------------------------------------------------------------------- */

typedef struct mapped {
    spry_allocator allocator;
    file_map map;
} mapped;

static void release_map(void *context, void *data, size_t bytes)
{
    mapped *m = context;
    spry_allocator allocator = m->allocator;

    (void)data;
    (void)bytes;
    file_map_close(&m->map);
    alloc_release(&allocator, m, sizeof *m);
}

spry_status tensor_file_map(const spry_allocator *allocator, const char *path, uint64_t ceiling,
                            tensor_storage **storage, const uint8_t **bytes, size_t *size,
                            spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    mapped *m = alloc_zeroed(&resolved, sizeof *m);
    spry_status status;

    if (m == NULL) {
        return alloc_failed(error, sizeof *m);
    }
    m->allocator = resolved;
    status = file_map_open(path, ceiling, &m->map, error);
    if (status != SPRY_OK) {
        alloc_release(&resolved, m, sizeof *m);
        return status;
    }
    *bytes = m->map.data;
    *size = m->map.size;
    *storage = tensor_storage_create(&resolved, (void *)(uintptr_t)m->map.data, m->map.size,
                                     release_map, m);
    if (*storage == NULL) {
        release_map(m, NULL, 0);
        return alloc_failed(error, sizeof *m);
    }
    return SPRY_OK;
}

/* --- archives -------------------------------------------------------------------------------- */

struct spry_archive {
    spry_allocator allocator;
    tensor_storage *storage;
    npz *zipped; /* one of these two */
    safetensors *safe;
    tensor *tensors; /* dtype NONE until read */
    int32_t count;
};

spry_status spry_archive_open(const spry_allocator *allocator, const char *path,
                              spry_archive **result, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    file_format format = format_of(path);
    spry_archive *archive;
    const uint8_t *bytes;
    size_t size;
    spry_status status;

    *result = NULL;
    if (format != FORMAT_NPZ && format != FORMAT_SAFETENSORS) {
        return unknown_format(path, error);
    }
    archive = alloc_zeroed(&resolved, sizeof *archive);
    if (archive == NULL) {
        return alloc_failed(error, sizeof *archive);
    }
    archive->allocator = resolved;
    status = tensor_file_map(&resolved, path, LIMIT_MODEL_BYTES, &archive->storage, &bytes, &size,
                             error);
    if (status == SPRY_OK && format == FORMAT_NPZ) {
        status = npz_open(&resolved, bytes, size, path, &archive->zipped, error);
        archive->count = status == SPRY_OK ? npz_count(archive->zipped) : 0;
    } else if (status == SPRY_OK) {
        status =
            safetensors_open(&resolved, bytes, size, archive->storage, path, &archive->safe, error);
        archive->count = status == SPRY_OK ? safetensors_count(archive->safe) : 0;
    }
    if (status == SPRY_OK) {
        archive->tensors = alloc_array(&resolved, (size_t)archive->count, sizeof *archive->tensors);
        if (archive->tensors == NULL) {
            archive->count = 0;
            status = alloc_failed(error, sizeof *archive->tensors);
        }
    }
    if (status != SPRY_OK) {
        spry_archive_close(archive);
        return status;
    }
    *result = archive;
    return SPRY_OK;
}

void spry_archive_close(spry_archive *archive)
{
    spry_allocator allocator;

    if (archive == NULL) {
        return;
    }
    allocator = archive->allocator;
    for (int32_t i = 0; archive->tensors != NULL && i < archive->count; i++) {
        tensor_fini(&archive->tensors[i]);
    }
    alloc_release(&allocator, archive->tensors, (size_t)archive->count * sizeof *archive->tensors);
    npz_close(archive->zipped);
    safetensors_close(archive->safe);
    tensor_storage_drop(archive->storage);
    alloc_release(&allocator, archive, sizeof *archive);
}

int32_t spry_archive_count(const spry_archive *archive)
{
    return archive->count;
}

const char *spry_archive_name(const spry_archive *archive, int32_t index)
{
    if (index < 0 || index >= archive->count) {
        return NULL;
    }
    return archive->zipped != NULL ? npz_name(archive->zipped, index)
                                   : safetensors_at(archive->safe, index)->name;
}

int32_t spry_archive_find(const spry_archive *archive, const char *name)
{
    for (int32_t i = 0; i < archive->count; i++) {
        if (strcmp(spry_archive_name(archive, i), name) == 0) {
            return i;
        }
    }
    return -1;
}

spry_status spry_archive_tensor(spry_archive *archive, int32_t index, const spry_tensor **result,
                                spry_error *error)
{
    tensor *slot;

    *result = NULL;
    if (index < 0 || index >= archive->count) {
        return spry_fail(error, SPRY_USAGE, "archive", "look at the names in the archive",
                         "there is no entry %d", (int)index);
    }
    slot = &archive->tensors[index];
    if (slot->dtype == SPRY_DTYPE_NONE) {
        tensor content;
        spry_status status = archive->zipped != NULL
                                 ? npz_read(archive->zipped, index, &content, error)
                                 : safetensors_read(archive->safe, index, &content, error);

        if (status != SPRY_OK) {
            return status;
        }
        *slot = content;
    }
    *result = slot;
    return SPRY_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

spry_status tensor_file_find_duplicate(const spry_allocator *allocator, int32_t count,
                                       const char *const *names, const char **twice,
                                       spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    size_t bytes = (size_t)count * sizeof *names;
    const char **sorted = alloc_bytes(&resolved, bytes);

    *twice = NULL;
    if (sorted == NULL) {
        return alloc_failed(error, bytes);
    }
    if (count > 0) {
        memcpy(sorted, names, bytes);
        qsort(sorted, (size_t)count, sizeof *sorted, compare_names);
    }
    for (int32_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0) {
            *twice = sorted[i]; /* one of the caller's pointers */
            break;
        }
    }
    alloc_release(&resolved, sorted, bytes);
    return SPRY_OK;
}

static spry_status check_names(const char *path, int32_t count, const char *const *names,
                               spry_error *error)
{
    const char *twice;
    spry_status status;

    if (count < 0) {
        return spry_fail(error, SPRY_USAGE, path, NULL, "%d tensors cannot be saved", (int)count);
    }
    status = tensor_file_find_duplicate(NULL, count, names, &twice, error);
    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        if (twice != NULL || names[i][0] == '\0') {
            status = spry_fail(error, SPRY_USAGE, path, "give every tensor a name of its own",
                               "the name '%.100s' is %s", twice != NULL ? twice : names[i],
                               twice != NULL ? "used twice" : "empty");
        }
    }
    return status;
}

spry_status spry_archive_save(const char *path, int32_t count, const char *const *names,
                              const spry_tensor *const *tensors, spry_error *error)
{
    file_format format = format_of(path);
    spry_status status = check_names(path, count, names, error);

    if (status != SPRY_OK) {
        return status;
    }
    switch (format) {
    case FORMAT_NPZ: return npz_save(path, count, names, tensors, error);
    case FORMAT_SAFETENSORS: return safetensors_save(path, count, names, tensors, 0, NULL, error);
    default: return unknown_format(path, error);
    }
}

/* --- single tensors -------------------------------------------------------------------------- */

static spry_status load_npy(const spry_allocator *allocator, const char *path, tensor *t,
                            spry_error *error)
{
    file_map map;
    spry_status status = file_map_open(path, LIMIT_MODEL_BYTES, &map, error);

    if (status == SPRY_OK) {
        status = npy_read(allocator, map.data, map.size, NULL, path, t, error);
        file_map_close(&map);
    }
    return status;
}

static spry_status load_single(const spry_allocator *allocator, const char *path, tensor *t,
                               spry_error *error)
{
    spry_archive *archive = NULL;
    const spry_tensor *found = NULL;
    spry_status status = spry_archive_open(allocator, path, &archive, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (archive->count != 1) {
        status = spry_fail(error, SPRY_USAGE, path, "name one of them, or save it as .npy",
                           "holds %d tensors where one is expected", (int)archive->count);
    } else {
        status = spry_archive_tensor(archive, 0, &found, error);
    }
    if (status == SPRY_OK) {
        status = tensor_init_copy(t, allocator, found, error); /* the caller may write to it */
    }
    spry_archive_close(archive);
    return status;
}

spry_status spry_tensor_load(const spry_allocator *allocator, const char *path,
                             spry_tensor **result, spry_error *error)
{
    tensor content = {0};
    spry_status status;

    *result = NULL;
    switch (format_of(path)) {
    case FORMAT_NPY: status = load_npy(allocator, path, &content, error); break;
    case FORMAT_NPZ:
    case FORMAT_SAFETENSORS: status = load_single(allocator, path, &content, error); break;
    case FORMAT_RAW:
        return spry_fail(error, SPRY_USAGE, path, "convert the file to .npy",
                         "bare elements do not tell their type and shape");
    default: return unknown_format(path, error);
    }
    return status == SPRY_OK ? tensor_publish(allocator, &content, result, error) : status;
}

spry_status spry_tensor_load_raw(const spry_allocator *allocator, const char *path,
                                 spry_dtype dtype, int rank, const int64_t *shape,
                                 spry_tensor **result, spry_error *error)
{
    tensor content;
    file_map map;
    spry_status status = tensor_init(&content, dtype, rank, shape, NULL, error);

    *result = NULL;
    if (status == SPRY_OK && dtype == SPRY_DTYPE_STRING) {
        status = spry_fail(error, SPRY_UNSUPPORTED, path, "save them as .npy",
                           "strings have no bare form");
    }
    if (status == SPRY_OK) {
        status = file_map_open(path, LIMIT_MODEL_BYTES, &map, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (map.size != content.bytes) {
        status = spry_fail(error, SPRY_BAD_INPUT, path, "check the type and the shape",
                           "has %zu bytes where %zu are needed", map.size, content.bytes);
    } else {
        content.data = (void *)(uintptr_t)map.data;
        status = spry_tensor_copy(allocator, &content, result, error);
    }
    file_map_close(&map);
    return status;
}

static spry_status append_npy(void *context, const void *bytes, size_t size, spry_error *error)
{
    return file_writer_append(context, bytes, size, error);
}

static spry_status save_npy(const tensor *t, const char *path, spry_error *error)
{
    file_writer *writer = NULL;
    spry_status status = file_writer_open(NULL, path, &writer, error);

    if (status == SPRY_OK) {
        status = npy_write(t, append_npy, writer, error);
    }
    if (status == SPRY_OK) {
        status = file_writer_commit(writer, error);
    }
    file_writer_close(writer);
    return status;
}

spry_status spry_tensor_save(const spry_tensor *t, const char *path, spry_error *error)
{
    const char *name = "data";

    switch (format_of(path)) {
    case FORMAT_NPY: return save_npy(t, path, error);
    case FORMAT_NPZ:
    case FORMAT_SAFETENSORS: return spry_archive_save(path, 1, &name, &t, error);
    case FORMAT_RAW:
        if (t->dtype == SPRY_DTYPE_STRING) {
            return spry_fail(error, SPRY_UNSUPPORTED, path, "save them as .npy",
                             "strings have no bare form");
        }
        return file_replace(path, t->data, t->bytes, error);
    default: return unknown_format(path, error);
    }
}
