/* Lines along one axis of a dense tensor: elements a fixed stride apart. What softmax, cumulative
 * sums, selections and reductions have in common.
 *
 * The tensor is seen as [outer, length, inner]; line k is (k / inner, :, k % inner). */
#ifndef OPS_LINES_H
#define OPS_LINES_H

#include "ops/op.h"
#include "tensor/convert.h"

typedef struct lines {
    int64_t count, length, inner; /* lines, elements of each, and their distance */
} lines;

/* Lines along `axis` of t. */
lines lines_along(const tensor *t, int axis);

/* Element 0 of line k. */
static inline int64_t lines_start(const lines *l, int64_t k)
{
    return l->inner == 0 ? 0 : k / l->inner * l->length * l->inner + k % l->inner;
}

/* Lines per piece of work: about `elements`, at least one; independent of the team. */
int64_t lines_grain(int64_t length, int64_t elements);

/* `count` elements from `offset` on, `stride` apart. */
void lines_read_f64(const tensor *t, int64_t offset, int64_t stride, int64_t count, double *to);
void lines_write_f64(tensor *t, int64_t offset, int64_t stride, int64_t count, const double *from);
void lines_read_i64(const tensor *t, int64_t offset, int64_t stride, int64_t count, int64_t *to);
void lines_write_i64(tensor *t, int64_t offset, int64_t stride, int64_t count, const int64_t *from);

#endif
