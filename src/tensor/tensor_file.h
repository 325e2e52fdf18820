/* Files as the memory of tensors. */
#ifndef TENSOR_TENSOR_FILE_H
#define TENSOR_TENSOR_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "spry/tensor_file.h"
#include "tensor/tensor.h"

/* Maps a file as a storage with one reference, so that tensors can share it; the map goes with the
 * last of them. Fails with SPRY_IO, SPRY_LIMIT (larger than `ceiling`, memory). */
SPRY_MUST_USE spry_status tensor_file_map(const spry_allocator *allocator, const char *path,
                                          uint64_t ceiling, tensor_storage **storage,
                                          const uint8_t **bytes, size_t *size, spry_error *error);

/* *twice becomes a name that occurs more than once, or NULL. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tensor_file_find_duplicate(const spry_allocator *allocator, int32_t count,
                                                     const char *const *names, const char **twice,
                                                     spry_error *error);

#endif
