/* NumPy's NPZ: a zip archive of NPY files, stored or deflated. Entry names are only compared, never
 * used as paths. */
#ifndef TENSOR_NPZ_H
#define TENSOR_NPZ_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/npy.h"
#include "tensor/tensor.h"

typedef struct npz npz;

/* Opens an archive of `size` bytes in memory, which must stay unchanged until npz_close. `where`
 * names it in errors (copied).
 * Fails with SPRY_BAD_INPUT (no zip archive), SPRY_LIMIT (entries, memory). */
SPRY_MUST_USE spry_status npz_open(const spry_allocator *allocator, const uint8_t *bytes,
                                   size_t size, const char *where, npz **result, spry_error *error);
void npz_close(npz *archive);

int32_t npz_count(const npz *archive);
/* Without ".npy"; valid until npz_close. */
const char *npz_name(const npz *archive, int32_t index);

/* Reads a whole entry. Fails with SPRY_BAD_INPUT (damaged), SPRY_UNSUPPORTED (encrypted, another
 * compression, an element type), SPRY_LIMIT (expands too much, memory). */
SPRY_MUST_USE spry_status npz_read(npz *archive, int32_t index, tensor *t, spry_error *error);

/* Only the header of an entry; `streamable` tells whether npz_stream_open can be used: stored, not
 * deflated, numeric, C order. Fails as npz_read. */
SPRY_MUST_USE spry_status npz_layout(npz *archive, int32_t index, npy_layout *layout,
                                     bool *streamable, spry_error *error);

/* A stored entry from which ranges are read. Fails as npz_read. */
typedef struct npz_stream npz_stream;
SPRY_MUST_USE spry_status npz_stream_open(npz *archive, int32_t index, npz_stream **stream,
                                          spry_error *error);
/* `size` bytes from `offset` of the entry. Fails with SPRY_BAD_INPUT (outside, damaged). */
SPRY_MUST_USE spry_status npz_stream_read(npz_stream *stream, size_t offset, void *to, size_t size,
                                          spry_error *error);
void npz_stream_close(npz_stream *stream);

/* Writes tensors as stored entries NAME.npy to `path`, atomically; the same input gives the same
 * bytes. Fails with SPRY_IO, SPRY_LIMIT, SPRY_BAD_INPUT (strings that are not UTF-8). */
SPRY_MUST_USE spry_status npz_save(const char *path, int32_t count, const char *const *names,
                                   const tensor *const *tensors, spry_error *error);

#endif
