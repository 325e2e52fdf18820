/* Shape arithmetic: elementwise results on small integer tensors during inference, whose elements
 * are known, symbolic ("N") or unknown. */
#ifndef OPS_CONTENTS_H
#define OPS_CONTENTS_H

#include "ops/operand.h"

/* One element of a result from two elements; a size of -1 and no symbol: unknown. */
typedef graph_dim (*contents_function)(graph_dim a, graph_dim b);

/* Output 0 = function(input 0, input 1) with scalars repeated, where both are tracked. The output's
 * type must be set. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status contents_combine(op_shapes *s, contents_function function);

/* The contents of output 0, unknown where its (integer) type cannot hold them.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status contents_set(op_shapes *s, int count, const graph_dim *dims);

#endif
