/* The tensor inside the library: a small struct that is passed by pointer, may live on the stack
 * or in an arena, and views memory that a reference-counted storage (or somebody else) owns. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/tensor.h"
#include "tensor/dtype.h"

/* Memory shared by several tensors: a heap block or a mapped file. `release` runs when the last
 * reference goes. */
typedef struct tensor_storage tensor_storage;
typedef void (*tensor_storage_release)(void *context, void *data, size_t bytes);

struct spry_tensor {
    spry_dtype dtype;
    int rank;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t stride[SPRY_TENSOR_MAX_RANK]; /* in elements; row-major when the tensor is dense */
    void *data;                           /* first element; sub-byte types are always dense */
    size_t bytes;                         /* of the viewed elements when dense */
    tensor_storage *storage;              /* NULL: borrowed memory */
    spry_allocator allocator;             /* of the struct itself, when made by tensor_create */
};

/* The library-internal spelling. */
typedef struct spry_tensor tensor;

/* Fills `t` as a dense view of borrowed memory (data may be NULL: shape only).
 * Fails with SPRY_USAGE (rank, type, negative dimension), SPRY_LIMIT (dimension or size). */
SPRY_MUST_USE spry_status tensor_init(tensor *t, spry_dtype dtype, int rank, const int64_t *shape,
                                      void *data, spry_error *error);

/* Fills `t` as a dense tensor with zeroed memory of its own. Undo with tensor_fini.
 * Fails as tensor_init, and with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tensor_init_owned(tensor *t, const spry_allocator *allocator,
                                            spry_dtype dtype, int rank, const int64_t *shape,
                                            spry_error *error);

/* Makes `view` share `source`'s memory (taking a reference). Undo with tensor_fini. */
void tensor_init_view(tensor *view, const tensor *source);

/* Fills `t` as u8[size] whose memory is not cleared and may be larger than a dimension may be: room
 * for a file's content. Undo with tensor_fini. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tensor_init_bytes(tensor *t, const spry_allocator *allocator,
                                            int64_t size, spry_error *error);

/* Fills `t` as a string tensor whose texts the caller lays out in the `text_bytes` bytes at *room,
 * which belong to the same block as the elements. Undo with tensor_fini. Fails as
 * tensor_init_owned. */
SPRY_MUST_USE spry_status tensor_init_texts(tensor *t, const spry_allocator *allocator, int rank,
                                            const int64_t *shape, size_t text_bytes, char **room,
                                            spry_error *error);

/* Fills `copy` with a deep copy of `source` (strings with their bytes). Undo with tensor_fini.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tensor_init_copy(tensor *copy, const spry_allocator *allocator,
                                           const tensor *source, spry_error *error);

/* Moves `content` into a new public handle (on failure it is released).
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tensor_publish(const spry_allocator *allocator, tensor *content,
                                         spry_tensor **result, spry_error *error);

/* Drops the reference to the storage; the struct itself is the caller's. */
void tensor_fini(tensor *t);

/* A storage over memory that `release(context, data, bytes)` takes back. The storage starts with
 * one reference. Returns NULL when memory ran out (then `release` is not called). */
tensor_storage *tensor_storage_create(const spry_allocator *allocator, void *data, size_t bytes,
                                      tensor_storage_release release, void *context);
void tensor_storage_retain(tensor_storage *storage);
void tensor_storage_drop(tensor_storage *storage);

/* Elements, i.e. the product of the dimensions. */
int64_t tensor_count(const tensor *t);
/* Product of dimensions [from, to). */
int64_t tensor_span(const tensor *t, int from, int to);
bool tensor_is_dense(const tensor *t);
bool tensor_same_shape(const tensor *a, const tensor *b);
/* "f32[1,3,224,224]" into `text`; always NUL-terminated. Returns `text`. */
char *tensor_describe(const tensor *t, char *text, size_t size);

/* Strided views without copying (whole-byte types). They take a reference like tensor_init_view.
 * transpose: `permutation` of 0..rank-1. slice: start, step and count per axis (step may be
 * negative). broadcast: stride 0 along enlarged axes.
 * Fail with SPRY_USAGE when the arguments do not fit. */
SPRY_MUST_USE spry_status tensor_view_transpose(tensor *view, const tensor *source,
                                                const int *permutation, spry_error *error);
SPRY_MUST_USE spry_status tensor_view_slice(tensor *view, const tensor *source,
                                            const int64_t *start, const int64_t *step,
                                            const int64_t *count, spry_error *error);
SPRY_MUST_USE spry_status tensor_view_broadcast(tensor *view, const tensor *source, int rank,
                                                const int64_t *shape, spry_error *error);
/* Copies the elements of `source` (any strides) into the dense `target` of equal shape and type. */
void tensor_copy_elements(tensor *target, const tensor *source);

#endif
