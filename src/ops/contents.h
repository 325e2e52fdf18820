/* Shape arithmetic: the contents of small integer tensors during inference, element by element
 * known, symbolic ("N") or unknown. */
#ifndef OPS_CONTENTS_H
#define OPS_CONTENTS_H

#include "ops/op.h"

enum { CONTENTS_MAX = 64 }; /* elements worth tracking: several shapes in one tensor */

/* Contents of input `i` into `to` (CONTENTS_MAX long), from its constant or what is tracked; the
 * number of elements, or -1 when unknown, too many, or negative somewhere. */
int contents_get(const op_shapes *s, int i, graph_dim *to);

/* Sets the contents of output `i`.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status contents_set(op_shapes *s, int i, int count, const graph_dim *dims);

/* One element of a result from two elements; a size of -1 and no symbol: unknown. */
typedef graph_dim (*contents_function)(graph_dim a, graph_dim b);

/* Output 0 = function(input 0, input 1) with scalars repeated, where both are tracked. The output's
 * type must be set. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status contents_combine(op_shapes *s, contents_function function);

#endif
