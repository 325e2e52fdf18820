/* Moves elements without looking at them: what Transpose, Slice, Concat, Expand, Pad and their like
 * have in common. Elements are whole bytes; a string moves as its spry_text. */
#ifndef OPS_MOVE_H
#define OPS_MOVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"
#include "ops/op.h"

/* Twice a tensor's rank: Tile and DepthToSpace split axes in two. */
enum { MOVE_MAX_RANK = 2 * SPRY_TENSOR_MAX_RANK };

/* Types several of whose elements share a byte, every other type, and both. */
#define MOVE_PACKED                                                                              \
    (1u << SPRY_DTYPE_U4 | 1u << SPRY_DTYPE_I4 | 1u << SPRY_DTYPE_F4E2M1 | 1u << SPRY_DTYPE_U2 | \
     1u << SPRY_DTYPE_I2)
#define MOVE_ANY (((1u << SPRY_DTYPE_COUNT) - 1u) & ~(1u << SPRY_DTYPE_NONE))
#define MOVE_TYPES (MOVE_ANY & ~MOVE_PACKED)

/* to[i0 * to_stride[0] + ...] = from[i0 * from_stride[0] + ...] for all i below shape; strides in
 * elements, from strides may be 0 or negative. Targets of different indices must differ. */
typedef struct move_plan {
    int rank;
    int64_t shape[MOVE_MAX_RANK];
    int64_t to_stride[MOVE_MAX_RANK];
    int64_t from_stride[MOVE_MAX_RANK];
} move_plan;

/* Bytes per element; 0 for types of MOVE_PACKED. */
size_t move_element_size(spry_dtype dtype);
/* Row-major strides of a dense tensor. */
void move_dense_strides(int rank, const int64_t *shape, int64_t *stride);
/* Adds an axis at the end of the plan. */
void move_add_axis(move_plan *plan, int64_t shape, int64_t to_stride, int64_t from_stride);
/* Does it; parts may run on the team's threads. */
void move_strided(threads *team, const move_plan *plan, size_t size, void *to, const void *from);
/* Repeats `element` of `size` bytes `count` times. */
void move_fill(void *to, int64_t count, const void *element, size_t size);

/* Elements of a MOVE_PACKED type to one byte each (low bits) and back. */
void move_unpack(const tensor *from, unsigned char *to);
void move_pack(const unsigned char *from, tensor *to);

/* The output `i` with the bytes of `from` in another shape of equal count. */
SPRY_MUST_USE spry_status move_reshaped(op_call *call, int i, const tensor *from, int rank,
                                        const int64_t *shape);

#endif
