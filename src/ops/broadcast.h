/* What all broadcasting operators share: the result's shape, and reading inputs as if they had it.
 *
 * Work goes over the output in blocks of CONVERT_BLOCK elements. For each block every input gives a
 * contiguous array in a type to compute in; an input that already is one costs nothing. Outputs are
 * computed into a block of the caller's and then written, so an output may overwrite an input of
 * its shape, and loops over blocks have no aliasing to fear. */
#ifndef OPS_BROADCAST_H
#define OPS_BROADCAST_H

#include "ops/op.h"
#include "tensor/convert.h"

/* How one input lies over an output: axes that continue each other are merged. */
typedef struct broadcast {
    const tensor *input;
    int rank; /* 0: one element for all, or (direct) element i for i */
    bool direct;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t stride[SPRY_TENSOR_MAX_RANK]; /* 0 along repeated axes; innermost 0 or 1 */
} broadcast;

enum { BROADCAST_GRAIN = 16 * CONVERT_BLOCK }; /* elements that one thread takes at a time */

/* Multidirectional broadcast of the shapes of inputs 0..count-1 (at least one).
 * Fails with SPRY_BAD_INPUT when they do not fit or an input is missing. */
SPRY_MUST_USE spry_status broadcast_shape(const op_call *call, int count, int *rank,
                                          int64_t *shape);

/* Lays `input` over an output shape that it can be broadcast to. */
void broadcast_init(broadcast *b, const tensor *input, int rank, const int64_t *shape);
/* False when `input` cannot be broadcast to exactly that shape. */
bool broadcast_fits(const tensor *input, int rank, const int64_t *shape);

/* What the input has for output elements [start, start + count), count <= CONVERT_BLOCK: a pointer
 * into the tensor where possible, else `room` after filling it. */
const float *broadcast_f32(const broadcast *b, int64_t start, int64_t count, float *room);
const double *broadcast_f64(const broadcast *b, int64_t start, int64_t count, double *room);
const int64_t *broadcast_i64(const broadcast *b, int64_t start, int64_t count, int64_t *room);
/* Index into the input for each of those output elements. */
void broadcast_offsets(const broadcast *b, int64_t start, int64_t count, int64_t *to);

/* Walks the output from `start` on in runs along the innermost axis, over an input that is neither
 * one element nor direct. */
typedef struct broadcast_walk {
    const broadcast *b;
    int64_t index[SPRY_TENSOR_MAX_RANK];
    int64_t offset; /* of the next element in the input */
} broadcast_walk;

void broadcast_walk_init(broadcast_walk *w, const broadcast *b, int64_t start);
/* The next run of at most `most` elements: its length, with its first element's index in *from.
 * Within the run the input advances by its innermost stride, 0 or 1. */
int64_t broadcast_walk_next(broadcast_walk *w, int64_t most, int64_t *from);

/* Types that compute in f32 (f32, f16, bf16). */
static inline bool broadcast_is_f32(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_F32 || dtype == SPRY_DTYPE_F16 || dtype == SPRY_DTYPE_BF16;
}

/* A cost function: one operation per element of output 0. */
void broadcast_cost(const op_work *w, int64_t *macs, int64_t *flops);

#endif
