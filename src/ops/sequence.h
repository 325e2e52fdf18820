/* Building sequences, shared by the sequence operators and by loops, which collect values. */
#ifndef OPS_SEQUENCE_H
#define OPS_SEQUENCE_H

#include "ops/op.h"

/* Makes output `i` an empty sequence of that type; *sequence is NULL if nobody wants it. */
void sequence_output(op_call *call, int i, spry_dtype dtype, value **sequence);
/* Appends `item`; elements that somebody else owns (a planned buffer, say) are copied.
 * Fails with SPRY_BAD_INPUT (other element type), SPRY_LIMIT. */
SPRY_MUST_USE spry_status sequence_append(op_call *call, value *sequence, const value *item);
/* As above for a tensor. */
SPRY_MUST_USE spry_status sequence_append_tensor(op_call *call, value *sequence, const tensor *t);
/* Output `i` gets the value of `from`, of any kind; moved when possible, so `from` may be none
 * afterwards. */
SPRY_MUST_USE spry_status sequence_give(op_call *call, int i, value *from);
/* Output `i` = the items stacked along a new axis, in reverse order when asked.
 * Fails with SPRY_BAD_INPUT (no items, different shapes, axis). */
SPRY_MUST_USE spry_status sequence_stack(op_call *call, int i, const value *sequence, int64_t axis,
                                         bool reversed);
/* A sequence type of tensors of `dtype`, for shape rules. */
SPRY_MUST_USE spry_status sequence_type(op_shapes *s, int i, spry_dtype dtype);

#endif
