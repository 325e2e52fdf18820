/* Inputs as one array in a type to compute in, for operators that visit elements more than once.
 *
 * A tensor that already has that type is used where it lies; another is converted into scratch
 * memory. A missing tensor gives NULL. */
#ifndef OPS_WHOLE_H
#define OPS_WHOLE_H

#include "ops/op.h"

/* All elements of `t`, which may be NULL. Fail with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status whole_f32(op_call *call, const tensor *t, const float **to);
SPRY_MUST_USE spry_status whole_f64(op_call *call, const tensor *t, const double **to);
SPRY_MUST_USE spry_status whole_i64(op_call *call, const tensor *t, const int64_t **to);

/* Scratch memory for `count` x `each` elements of `size` bytes.
 * Fails with SPRY_LIMIT (memory, or a product that does not fit). */
SPRY_MUST_USE spry_status whole_room(op_call *call, int64_t count, int64_t each, size_t size,
                                     void **memory);

#endif
