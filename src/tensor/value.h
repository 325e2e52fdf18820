/* The inside of spry_value. An optional that holds something is represented by what it holds. */
#ifndef TENSOR_VALUE_H
#define TENSOR_VALUE_H

#include "spry/value.h"
#include "tensor/tensor.h"

struct spry_value {
    spry_value_kind kind;
    spry_dtype dtype;          /* of a sequence's items; of the tensor otherwise */
    tensor tensor;             /* SPRY_VALUE_TENSOR */
    struct spry_value **items; /* SPRY_VALUE_SEQUENCE: owned */
    size_t count;
    size_t capacity;
    spry_allocator allocator; /* of the struct, the items array */
};

typedef struct spry_value value;

/* An initialised empty value (SPRY_VALUE_NONE) in caller memory. */
void value_init(value *v, const spry_allocator *allocator);
/* Releases what the value holds and makes it SPRY_VALUE_NONE; the struct is the caller's. */
void value_fini(value *v);
/* Makes `target` (initialised, none) share `source`'s tensors; sequences are copied item by item.
 * Fails with SPRY_LIMIT (memory); `target` is then none. */
SPRY_MUST_USE spry_status value_share(value *target, const value *source, spry_error *error);
/* Makes `target` (initialised, none) a deep copy that depends on nothing of `source`.
 * Fails with SPRY_LIMIT (memory); `target` is then none. */
SPRY_MUST_USE spry_status value_copy(value *target, const value *source, spry_error *error);
/* Moves `source` into `target` (initialised, none); `source` becomes none. */
void value_move(value *target, value *source);

#endif
