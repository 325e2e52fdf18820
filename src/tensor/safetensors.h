/* The safetensors format, read strictly:
 *
 *   header length (8 bytes, little-endian) | JSON {"name": {"dtype", "shape", "data_offsets"}, ...}
 *   | data without gaps or overlaps
 *
 * The header is scanned in one pass without building a tree, so that memory stays in proportion to
 * the file. */
#ifndef TENSOR_SAFETENSORS_H
#define TENSOR_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/tensor.h"

typedef struct safetensors_entry {
    const char *name; /* UTF-8, NUL-terminated */
    spry_dtype dtype;
    int rank;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    size_t begin; /* within the file */
    size_t end;
} safetensors_entry;

typedef struct safetensors safetensors;

/* An entry of "__metadata__". */
typedef struct safetensors_note {
    const char *key;
    const char *text;
} safetensors_note;

/* Checks the whole header of the `size` bytes of a file, which must stay unchanged until
 * safetensors_close; `storage` (may be NULL) owns them and is retained by tensors that share them.
 * Fails with SPRY_BAD_INPUT (malformed: the error names the byte), SPRY_UNSUPPORTED (element type),
 * SPRY_LIMIT (header, entries, rank, memory). */
SPRY_MUST_USE spry_status safetensors_open(const spry_allocator *allocator, const uint8_t *bytes,
                                           size_t size, tensor_storage *storage, const char *where,
                                           safetensors **result, spry_error *error);
void safetensors_close(safetensors *file);

int32_t safetensors_count(const safetensors *file);
/* Entries are sorted by name. */
const safetensors_entry *safetensors_at(const safetensors *file, int32_t index);
/* What the metadata say under that key, or NULL. */
const char *safetensors_find_note(const safetensors *file, const char *key);

/* The tensor of an entry: a view of the file where its address suits the type (and a storage was
 * given), otherwise a copy.
 * Fails with SPRY_BAD_INPUT (a bool neither 0 nor 1), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status safetensors_read(const safetensors *file, int32_t index, tensor *t,
                                           spry_error *error);

/* Writes tensors, and notes into the metadata, to `path`, atomically; tensors with the strictest
 * alignment come first.
 * Fails with SPRY_UNSUPPORTED (strings, c128 and other types the format lacks), SPRY_IO,
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status safetensors_save(const char *path, int32_t count,
                                           const char *const *names, const tensor *const *tensors,
                                           int32_t note_count, const safetensors_note *notes,
                                           spry_error *error);

/* The format's name of a type, or NULL. */
const char *safetensors_dtype_name(spry_dtype dtype);

#endif
