/* Tensors: n-dimensional arrays of one element type.
 *
 *     const int64_t shape[] = {1, 3, 224, 224};
 *     spry_tensor *image = NULL;
 *     spry_status status = spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &image, &error);
 *     ... fill spry_tensor_data(image) ...
 *     spry_tensor_destroy(image);
 *
 * A tensor made by `_create`, `_load` or `_copy` owns its elements; one made by `_wrap` borrows
 * them from the caller, who keeps them alive. Elements are stored densely in row-major (C) order.
 * One tensor may be read by several threads at once. */
#ifndef SPRY_TENSOR_H
#define SPRY_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types. The values are those of ONNX's TensorProto.DataType. */
typedef enum spry_dtype {
    SPRY_DTYPE_NONE = 0,
    SPRY_DTYPE_F32 = 1,
    SPRY_DTYPE_U8 = 2,
    SPRY_DTYPE_I8 = 3,
    SPRY_DTYPE_U16 = 4,
    SPRY_DTYPE_I16 = 5,
    SPRY_DTYPE_I32 = 6,
    SPRY_DTYPE_I64 = 7,
    SPRY_DTYPE_STRING = 8, /* elements are spry_text */
    SPRY_DTYPE_BOOL = 9,   /* one byte, 0 or 1 */
    SPRY_DTYPE_F16 = 10,
    SPRY_DTYPE_F64 = 11,
    SPRY_DTYPE_U32 = 12,
    SPRY_DTYPE_U64 = 13,
    SPRY_DTYPE_C64 = 14,  /* pairs of f32: real, imaginary */
    SPRY_DTYPE_C128 = 15, /* pairs of f64 */
    SPRY_DTYPE_BF16 = 16,
    SPRY_DTYPE_F8E4M3FN = 17,
    SPRY_DTYPE_F8E4M3FNUZ = 18,
    SPRY_DTYPE_F8E5M2 = 19,
    SPRY_DTYPE_F8E5M2FNUZ = 20,
    SPRY_DTYPE_U4 = 21, /* two per byte, first element in the low half */
    SPRY_DTYPE_I4 = 22,
    SPRY_DTYPE_F4E2M1 = 23,
    SPRY_DTYPE_F8E8M0 = 24,
    SPRY_DTYPE_U2 = 25, /* four per byte, first element in the low bits */
    SPRY_DTYPE_I2 = 26,
    SPRY_DTYPE_COUNT = 27
} spry_dtype;

/* One element of a string tensor: `size` bytes, not necessarily NUL-terminated. */
typedef struct spry_text {
    const char *data;
    size_t size;
} spry_text;

enum { SPRY_TENSOR_MAX_RANK = 8 };

typedef struct spry_tensor spry_tensor;

/* Lower-case name as users write it ("f32", "u8", "bf16", "string"); "none" outside the enum. */
SPRY_API const char *spry_dtype_name(spry_dtype dtype);

/* The type of that name (also ONNX and NumPy spellings: "float", "float32", "uint8"), or
 * SPRY_DTYPE_NONE. */
SPRY_API spry_dtype spry_dtype_parse(const char *name);

/* Bits per element: 2 to 128; 0 for strings and SPRY_DTYPE_NONE. */
SPRY_API unsigned spry_dtype_bits(spry_dtype dtype);

/* A zero-filled tensor of `rank` (0 to 8) dimensions, each 0 to 2^31 - 1.
 * Fails with SPRY_USAGE (type, rank or dimension out of range), SPRY_LIMIT (size or memory). */
SPRY_API SPRY_MUST_USE spry_status spry_tensor_create(const spry_allocator *allocator,
                                                      spry_dtype dtype, int rank,
                                                      const int64_t *shape, spry_tensor **tensor,
                                                      spry_error *error);

/* As spry_tensor_create over memory the caller owns. `bytes` must equal the exact size.
 * Fails as spry_tensor_create, and with SPRY_USAGE when `bytes` is not that size. */
SPRY_API SPRY_MUST_USE spry_status spry_tensor_wrap(const spry_allocator *allocator,
                                                    spry_dtype dtype, int rank,
                                                    const int64_t *shape, void *data, size_t bytes,
                                                    spry_tensor **tensor, spry_error *error);

/* A deep copy. Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_tensor_copy(const spry_allocator *allocator,
                                                    const spry_tensor *source, spry_tensor **tensor,
                                                    spry_error *error);

/* Frees the tensor; NULL is allowed. */
SPRY_API void spry_tensor_destroy(spry_tensor *tensor);

SPRY_API spry_dtype spry_tensor_dtype(const spry_tensor *tensor);
SPRY_API int spry_tensor_rank(const spry_tensor *tensor);
/* `rank` dimensions; valid as long as the tensor. */
SPRY_API const int64_t *spry_tensor_shape(const spry_tensor *tensor);
/* Number of elements: the product of the dimensions, 1 for rank 0. */
SPRY_API int64_t spry_tensor_count(const spry_tensor *tensor);
/* Bytes of all elements (sub-byte types rounded up to a whole byte at the end). */
SPRY_API size_t spry_tensor_bytes(const spry_tensor *tensor);
/* The elements; valid as long as the tensor. Never NULL, also for 0 elements. */
SPRY_API void *spry_tensor_data(spry_tensor *tensor);
SPRY_API const void *spry_tensor_const_data(const spry_tensor *tensor);

#ifdef __cplusplus
}
#endif

#endif
