/* What the steps of a layout share: boxes and channels ("vertices") in ranks. */
#ifndef INSPECT_LAYOUT_LAYERS_H
#define INSPECT_LAYOUT_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "spry/status.h"

/* Neighbours of vertex v: list[offsets[v] .. offsets[v + 1]). */
typedef struct layout_neighbours {
    int32_t *offsets;
    int32_t *list;
} layout_neighbours;

typedef struct layout_layers {
    arena *memory;
    int32_t count;     /* vertices */
    int32_t box_count; /* the first vertices are boxes, the others channels */
    int32_t *rank;
    double *width;
    double *x; /* centre; set by layout_set_columns */
    int32_t rank_count;
    int32_t *starts;        /* rank r is order[starts[r] .. starts[r + 1]) */
    int32_t *order;         /* vertices */
    int32_t *position;      /* of a vertex within its rank */
    layout_neighbours up;   /* in the rank above */
    layout_neighbours down; /* in the rank below */
} layout_layers;

/* Chooses an order within the ranks with few crossings. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_reduce_crossings(layout_layers *l, spry_error *error);

/* Crossings of the present order; `tree` and `ends` have room for l->count + 1 and for all
 * segments. */
int64_t layout_count_crossings(const layout_layers *l, int32_t *tree, int32_t *ends);

/* Sets x. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_set_columns(layout_layers *l, spry_error *error);

static inline bool layout_is_channel(const layout_layers *l, int32_t v)
{
    return v >= l->box_count;
}

#endif
