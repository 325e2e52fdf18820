/* Drawing a graph in layers, from top to bottom: where each box goes and how each edge runs.
 *
 * The method is Sugiyama's: every box gets a rank below its predecessors; edges that span several
 * ranks pass through a channel in each; the order within ranks is chosen for few crossings; columns
 * are chosen so that long edges are straight (Brandes and Koepf, "Fast and simple horizontal
 * coordinate assignment", 2001). Long edges from one box share one channel, as a bus. */
#ifndef INSPECT_LAYOUT_H
#define INSPECT_LAYOUT_H

#include <stdint.h>

#include "base/arena.h"
#include "spry/status.h"

enum {
    LAYOUT_MOST_BOXES = 20000,     /* a browser draws no more fluently */
    LAYOUT_MOST_CHANNELS = 500000, /* room that long edges take, in all ranks together */
    LAYOUT_RANK_GAP = 34,          /* between ranks; edges bend here */
    LAYOUT_BOX_GAP = 26,           /* beside boxes */
    LAYOUT_CHANNEL_GAP = 12        /* beside edges that pass */
};

typedef struct layout_point {
    double x, y;
} layout_point;

typedef struct layout_box {
    double width, height; /* in */
    double x, y;          /* out: centre of the upper side */
    int32_t rank;         /* out */
} layout_box;

/* Out: the way is points[0], points[1], ...: from an even point to the next a curve that leaves and
 * arrives vertically, from an odd point to the next a straight line down. */
typedef struct layout_edge {
    int32_t from, to; /* in: boxes, from < to */
    layout_point *points;
    int32_t point_count;
} layout_edge;

typedef struct layout {
    layout_box *boxes;
    int32_t box_count;
    layout_edge *edges;
    int32_t edge_count;
    double width, height; /* out; everything lies in [0, width] x [0, height] */
} layout;

/* Places boxes and edges; routes live in `memory`.
 * Fails with SPRY_LIMIT (more than can be drawn, memory), SPRY_INTERNAL (an edge leads upwards). */
SPRY_MUST_USE spry_status layout_place(layout *l, arena *memory, spry_error *error);

#endif
