/* Values that flow along the edges of a graph: a tensor, a sequence of values, or nothing (an empty
 * optional). What `spry_session_run` takes and gives. */
#ifndef SPRY_VALUE_H
#define SPRY_VALUE_H

#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spry_value_kind {
    SPRY_VALUE_NONE = 0, /* an empty optional */
    SPRY_VALUE_TENSOR = 1,
    SPRY_VALUE_SEQUENCE = 2
} spry_value_kind;

typedef struct spry_value spry_value;

/* A value that takes over `tensor` (also on failure, when it is destroyed).
 * Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_value_from_tensor(const spry_allocator *allocator,
                                                          spry_tensor *tensor, spry_value **value,
                                                          spry_error *error);
/* An empty sequence whose items will have element type `dtype`. Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_value_sequence(const spry_allocator *allocator,
                                                       spry_dtype dtype, spry_value **value,
                                                       spry_error *error);
/* Appends `item`, which the sequence takes over (also on failure, when it is destroyed).
 * Fails with SPRY_USAGE (not a sequence), SPRY_LIMIT (memory, item count). */
SPRY_API SPRY_MUST_USE spry_status spry_value_append(spry_value *sequence, spry_value *item,
                                                     spry_error *error);
/* An empty optional. Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_value_none(const spry_allocator *allocator,
                                                   spry_value **value, spry_error *error);
SPRY_API void spry_value_destroy(spry_value *value);

SPRY_API spry_value_kind spry_value_kind_of(const spry_value *value);
/* The tensor of a SPRY_VALUE_TENSOR, owned by the value; NULL for other kinds. */
SPRY_API const spry_tensor *spry_value_tensor(const spry_value *value);
/* Number of items of a sequence; 0 for other kinds. */
SPRY_API int64_t spry_value_count(const spry_value *value);
/* Item `index` of a sequence, owned by it; NULL when out of range. */
SPRY_API const spry_value *spry_value_item(const spry_value *value, int64_t index);

#ifdef __cplusplus
}
#endif

#endif
