/* Operands that older operator sets hold in an attribute and newer ones in an input, and other
 * questions that many operators ask of a node. */
#ifndef OPS_OPERAND_H
#define OPS_OPERAND_H

#include "ops/op.h"

/* Port number of an operand that this version has only as an attribute, or not at all. */
enum { OPERAND_NO_INPUT = -1 };

/* The integers of input `i` or else of attribute `name` (both may be absent: *count is -1).
 * Fails with SPRY_BAD_INPUT (too many, not a list). */
SPRY_MUST_USE spry_status operand_ints(op_call *call, int i, const char *name, int64_t *to,
                                       int capacity, int *count);
/* The same for a shape rule; *known is false when the input is there but its values are not. */
SPRY_MUST_USE spry_status operand_known_ints(op_shapes *s, int i, const char *name, int64_t *to,
                                             int capacity, int *count, bool *known);

/* Normalises `count` axes in place and marks them in `chosen` (rank flags, may be NULL). Returns
 * false for an axis that is out of range or given twice. */
bool operand_axes(int64_t *axes, int count, int rank, bool *chosen);

/* All integers of the index tensor that is input `i`, in scratch memory, made non-negative.
 * Fails with SPRY_BAD_INPUT when one is outside of [-dim, dim), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status operand_indices(op_call *call, int i, int64_t dim, int64_t **indices);
/* Reports index `index` at `position` of input `i` as outside of an axis of `dim` elements. */
spry_status operand_bad_index(const op_call *call, int i, int64_t position, int64_t index,
                              int64_t dim);

/* For operators whose indices stand for single elements of x along `axis`, at otherwise the same
 * coordinates: whether shapes agree, and the offset in x of the one at `position`. */
bool operand_elements_fit(const tensor *indices, const tensor *x, int axis);
int64_t operand_element(const tensor *indices, const tensor *x, int axis, int64_t position,
                        int64_t index);
/* For operators whose last axis of input `i` holds tuples of indices into x's axes from `first` on:
 * the offset of tuple `position`, counted in blocks of the axes after those. */
SPRY_MUST_USE spry_status operand_tuple(op_call *call, int i, int64_t position, const tensor *x,
                                        int first, int64_t *offset);

/* The element type of input `i`, SPRY_DTYPE_NONE when unknown. */
spry_dtype operand_dtype(const op_shapes *s, int i);

/* A tensor output of unknown shape. */
spry_status operand_unranked(op_shapes *s, int i, spry_dtype dtype);

/* Symbolic contents for output 0, to be filled by the rule; *dims is NULL when `count` is not one
 * that is worth tracking. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status operand_contents(op_shapes *s, int64_t count, graph_dim **dims);
/* What is known of the integers in input `i` as dimensions: NULL when nothing. Values of -1 mean
 * unknown; a constant's negative values too. *count out. `room` is for OPERAND_CONTENTS. */
const graph_dim *operand_integers(const op_shapes *s, int i, graph_dim *room, int32_t *count);

/* Contents of more integers than this are no shape arithmetic. */
enum { OPERAND_CONTENTS = 64 };

extern const graph_dim operand_unknown; /* {-1, NULL} */

#endif
