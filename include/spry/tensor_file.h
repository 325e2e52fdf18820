/* Tensors in files: one per file (NPY, raw), or several with names (NPZ, safetensors).
 *
 *     spry_tensor *image = NULL;
 *     spry_status status = spry_tensor_load(NULL, "image.npy", &image, &error);
 *
 *     spry_archive *weights = NULL;
 *     const spry_tensor *bias = NULL;
 *     status = spry_archive_open(NULL, "weights.safetensors", &weights, &error);
 *     status = spry_archive_tensor(weights, spry_archive_find(weights, "fc.bias"), &bias, &error);
 *     ...
 *     spry_archive_close(weights);
 *
 * The format follows from the name: .npy, .npz, .safetensors; .bin and .raw are the bare elements.
 * NumPy has no bf16, f8, f4 and no 4- or 2-bit integers: .npy and .npz store them widened to
 * float32, int8 or uint8 (values are kept); safetensors keeps the types it knows. */
#ifndef SPRY_TENSOR_FILE_H
#define SPRY_TENSOR_FILE_H

#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Reads a file that holds one tensor: .npy, or .npz or .safetensors with a single entry.
 * Fails with SPRY_IO (cannot be opened), SPRY_BAD_INPUT (malformed), SPRY_UNSUPPORTED (an element
 * type, another extension), SPRY_USAGE (several entries: see spry_archive), SPRY_LIMIT (memory or a
 * limit of docs/limits.md). */
SPRY_API SPRY_MUST_USE spry_status spry_tensor_load(const spry_allocator *allocator,
                                                    const char *path, spry_tensor **tensor,
                                                    spry_error *error);

/* Reads the bare elements of a tensor of known type and shape; the file must have exactly their
 * size. Fails as spry_tensor_load, and with SPRY_USAGE (type, rank or dimension out of range). */
SPRY_API SPRY_MUST_USE spry_status spry_tensor_load_raw(const spry_allocator *allocator,
                                                        const char *path, spry_dtype dtype,
                                                        int rank, const int64_t *shape,
                                                        spry_tensor **tensor, spry_error *error);

/* Writes the tensor, replacing `path` atomically: .npy, .bin or .raw; .npz and .safetensors get one
 * entry named "data".
 * Fails with SPRY_IO, SPRY_UNSUPPORTED (extension, or a type the format lacks), SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_tensor_save(const spry_tensor *tensor, const char *path,
                                                    spry_error *error);

/* A file of named tensors, read when asked for. safetensors are mapped: the file must not be
 * changed while the archive lives. One thread at a time. */
typedef struct spry_archive spry_archive;

/* Reads the table of contents of a .npz or .safetensors file.
 * Fails as spry_tensor_load. */
SPRY_API SPRY_MUST_USE spry_status spry_archive_open(const spry_allocator *allocator,
                                                     const char *path, spry_archive **archive,
                                                     spry_error *error);
/* Frees the archive and its tensors; NULL is allowed. */
SPRY_API void spry_archive_close(spry_archive *archive);

SPRY_API int32_t spry_archive_count(const spry_archive *archive);
/* Name of entry `index` (NPZ: without ".npy"), valid as long as the archive; NULL out of range. */
SPRY_API const char *spry_archive_name(const spry_archive *archive, int32_t index);
/* Index of the entry of that name, or -1. */
SPRY_API int32_t spry_archive_find(const spry_archive *archive, const char *name);

/* Entry `index`, owned by the archive and read-only. The second call costs nothing.
 * Fails with SPRY_USAGE (index out of range), and as spry_tensor_load. */
SPRY_API SPRY_MUST_USE spry_status spry_archive_tensor(spry_archive *archive, int32_t index,
                                                       const spry_tensor **tensor,
                                                       spry_error *error);

/* Writes `count` tensors under `names` (all different, not empty) to a .npz or .safetensors file,
 * replacing `path` atomically.
 * Fails with SPRY_USAGE (names, extension), SPRY_UNSUPPORTED (a type the format lacks), SPRY_IO,
 * SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_archive_save(const char *path, int32_t count,
                                                     const char *const *names,
                                                     const spry_tensor *const *tensors,
                                                     spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
