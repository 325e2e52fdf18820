/* Values that only select, repeat and reorder elements of another one: Transpose, Reshape, Split,
 * Slice, Gather of one index, Expand and the like, seen as strides into the memory they read from.
 * An operator that takes strides reads there, and the chain need not be executed. */
#ifndef RUNTIME_VIEW_H
#define RUNTIME_VIEW_H

#include "model/graph.h"

enum { VIEW_MOST_PARTS = 2 * SPRY_TENSOR_MAX_RANK };

/* A piece of an axis: `size` > 1 steps of `stride` elements (0: the same again). */
typedef struct view_part {
    int64_t size, stride;
} view_part;

typedef struct view {
    int32_t base;   /* value whose memory is seen */
    int64_t offset; /* elements */
    double factor;  /* that the elements are multiplied by */
    int rank;
    int64_t dims[SPRY_TENSOR_MAX_RANK];
    /* Parts of the axes, outermost first. Those of an axis are neighbours, and their sizes multiply
     * to the axis's; an axis of one has none. */
    int part_count;
    view_part parts[VIEW_MOST_PARTS];
} view;

/* The value itself, dense. False unless its type is static. */
bool view_of_value(const graph *g, int32_t id, view *v);

/* The value as a view of the earliest value that it can be traced to. With `takes_factors`, also
 * through products and quotients of f32 with one constant number. False as above. */
bool view_trace(const graph *g, int32_t id, bool takes_factors, view *v);

/* Each changes the view as the operator of that name would, or returns false and leaves it. */
bool view_reshape(view *v, int rank, const int64_t *dims);
bool view_transpose(view *v, const int64_t *perm);
bool view_expand(view *v, int rank, const int64_t *dims);

/* The parts of `count` neighbouring axes from `axis` on, with parts joined that follow one another
 * in memory; returns how many. */
int view_axes(const view *v, int axis, int count, view_part *parts);

/* The stride of one axis, 0 for an axis of one; false when it has several parts. */
bool view_stride(const view *v, int axis, int64_t *stride);

#endif
