/* Ranks, channels for long edges, and the way of every edge. */
#include "inspect/layout.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "inspect/layout_layers.h"

enum { CHANNEL_WIDTH = 2, MARGIN = 20, PORT_GAP = 16 };

/* Boxes are vertices 0.., the channels of box b are vertices first_channel[b].. from the rank below
 * it downwards. */
typedef struct builder {
    layout *drawing;
    layout_layers layers;
    int32_t *first_channel;
    int32_t *lowest; /* rank of the lowest box that an edge of this box leads to */
} builder;

/* ---- ranks ---- */

static void set_ranks(builder *b)
{
    layout *l = b->drawing;
    int32_t *rank = b->layers.rank;

    /* Edges lead from lower to higher numbers, and are sorted by their end. */
    for (int32_t e = 0; e < l->edge_count; e++) {
        int32_t below = rank[l->edges[e].from] + 1;
        if (rank[l->edges[e].to] < below) {
            rank[l->edges[e].to] = below;
        }
    }
}

/* A box with more edges below than above moves down to its nearest reader: shorter edges. */
static spry_status pull_down(builder *b, spry_error *error)
{
    layout *l = b->drawing;
    size_t count = (size_t)l->box_count + 1;
    int32_t *balance = arena_array(b->layers.memory, count, sizeof *balance);
    int32_t *nearest = arena_array(b->layers.memory, count, sizeof *nearest);

    if (balance == NULL || nearest == NULL) {
        return alloc_failed(error, count * sizeof *balance);
    }
    for (int32_t v = 0; v < l->box_count; v++) {
        nearest[v] = INT32_MAX;
    }
    for (int32_t e = 0; e < l->edge_count; e++) {
        balance[l->edges[e].from]++;
        balance[l->edges[e].to]--;
    }
    int32_t e = l->edge_count - 1;
    for (int32_t v = l->box_count - 1; v >= 0; v--) {
        if (balance[v] > 0 && nearest[v] != INT32_MAX) {
            b->layers.rank[v] = nearest[v] - 1;
        }
        for (; e >= 0 && l->edges[e].to == v; e--) {
            int32_t from = l->edges[e].from;
            nearest[from] = b->layers.rank[v] < nearest[from] ? b->layers.rank[v] : nearest[from];
        }
    }
    return SPRY_OK;
}

static int compare_edges(const void *a, const void *b)
{
    const layout_edge *x = a;
    const layout_edge *y = b;

    return x->to != y->to ? (x->to > y->to) - (x->to < y->to)
                          : (x->from > y->from) - (x->from < y->from);
}

/* ---- channels and segments ---- */

static spry_status add_channels(builder *b, spry_error *error)
{
    layout *l = b->drawing;
    int64_t total = l->box_count;

    for (int32_t e = 0; e < l->edge_count; e++) {
        int32_t *lowest = &b->lowest[l->edges[e].from];
        int32_t rank = b->layers.rank[l->edges[e].to];
        *lowest = rank > *lowest ? rank : *lowest;
    }
    for (int32_t v = 0; v < l->box_count; v++) {
        int32_t span = b->lowest[v] - b->layers.rank[v];
        b->first_channel[v] = (int32_t)total;
        total += span > 1 ? span - 1 : 0;
        if (total > LAYOUT_MOST_CHANNELS) {
            return spry_fail(error, SPRY_LIMIT, NULL, NULL,
                             "the graph has too many long edges to be drawn");
        }
    }
    size_t count = (size_t)total;
    int32_t *rank = arena_array(b->layers.memory, count, sizeof *rank);
    double *width = arena_array(b->layers.memory, count, sizeof *width);

    if (rank == NULL || width == NULL) {
        return alloc_failed(error, count * sizeof *width);
    }
    for (int32_t v = 0; v < l->box_count; v++) {
        rank[v] = b->layers.rank[v];
        width[v] = l->boxes[v].width;
        for (int32_t r = rank[v] + 1; r < b->lowest[v]; r++) {
            int32_t channel = b->first_channel[v] + r - rank[v] - 1;
            rank[channel] = r;
            width[channel] = CHANNEL_WIDTH;
        }
    }
    b->layers.rank = rank;
    b->layers.width = width;
    b->layers.count = (int32_t)total;
    b->layers.box_count = l->box_count;
    return SPRY_OK;
}

/* The vertex of edge `e` in the rank above its end. */
static int32_t last_stop(const builder *b, const layout_edge *e)
{
    int32_t span = b->layers.rank[e->to] - b->layers.rank[e->from];

    return span == 1 ? e->from : b->first_channel[e->from] + span - 2;
}

typedef void (*segment_visit)(layout_layers *l, int32_t upper, int32_t lower);

static void count_segment(layout_layers *l, int32_t upper, int32_t lower)
{
    l->down.offsets[upper + 1]++;
    l->up.offsets[lower + 1]++;
}

/* Offsets are moved along while filling and moved back afterwards. */
static void fill_segment(layout_layers *l, int32_t upper, int32_t lower)
{
    l->down.list[l->down.offsets[upper]++] = lower;
    l->up.list[l->up.offsets[lower]++] = upper;
}

static void visit_segments(builder *b, segment_visit visit)
{
    layout *l = b->drawing;

    for (int32_t v = 0; v < l->box_count; v++) {
        int32_t channels = b->lowest[v] - b->layers.rank[v] - 1;
        for (int32_t i = 0; i < channels; i++) {
            int32_t channel = b->first_channel[v] + i;
            visit(&b->layers, i == 0 ? v : channel - 1, channel);
        }
    }
    for (int32_t e = 0; e < l->edge_count; e++) {
        visit(&b->layers, last_stop(b, &l->edges[e]), l->edges[e].to);
    }
}

static void rewind_offsets(int32_t *offsets, int32_t count)
{
    for (int32_t v = count; v > 0; v--) {
        offsets[v] = offsets[v - 1];
    }
    offsets[0] = 0;
}

static spry_status add_segments(builder *b, spry_error *error)
{
    layout_layers *l = &b->layers;
    size_t count = (size_t)l->count + 1;
    size_t segments = count + (size_t)b->drawing->edge_count;

    l->down.offsets = arena_array(l->memory, count, sizeof(int32_t));
    l->up.offsets = arena_array(l->memory, count, sizeof(int32_t));
    l->down.list = arena_array(l->memory, segments, sizeof(int32_t));
    l->up.list = arena_array(l->memory, segments, sizeof(int32_t));
    if (l->down.offsets == NULL || l->up.offsets == NULL || l->down.list == NULL ||
        l->up.list == NULL) {
        return alloc_failed(error, segments * sizeof(int32_t));
    }
    visit_segments(b, count_segment);
    for (int32_t v = 0; v < l->count; v++) {
        l->down.offsets[v + 1] += l->down.offsets[v];
        l->up.offsets[v + 1] += l->up.offsets[v];
    }
    visit_segments(b, fill_segment);
    rewind_offsets(l->down.offsets, l->count);
    rewind_offsets(l->up.offsets, l->count);
    return SPRY_OK;
}

static spry_status add_ranks(layout_layers *l, spry_error *error)
{
    size_t count = (size_t)l->count + 1;

    for (int32_t v = 0; v < l->count; v++) {
        l->rank_count = l->rank[v] >= l->rank_count ? l->rank[v] + 1 : l->rank_count;
    }
    l->starts = arena_array(l->memory, (size_t)l->rank_count + 1, sizeof *l->starts);
    l->order = arena_array(l->memory, count, sizeof *l->order);
    l->position = arena_array(l->memory, count, sizeof *l->position);
    l->x = arena_array(l->memory, count, sizeof *l->x);
    if (l->starts == NULL || l->order == NULL || l->position == NULL || l->x == NULL) {
        return alloc_failed(error, count * sizeof *l->x);
    }
    for (int32_t v = 0; v < l->count; v++) {
        l->starts[l->rank[v] + 1]++;
    }
    for (int32_t r = 0; r < l->rank_count; r++) {
        l->starts[r + 1] += l->starts[r];
    }
    return SPRY_OK;
}

/* ---- coordinates ---- */

static spry_status set_rows(builder *b, double **tops, double **bottoms, spry_error *error)
{
    layout *l = b->drawing;
    size_t count = (size_t)b->layers.rank_count + 1;
    double y = MARGIN;

    *tops = arena_array(b->layers.memory, count, sizeof **tops);
    *bottoms = arena_array(b->layers.memory, count, sizeof **bottoms);
    if (*tops == NULL || *bottoms == NULL) {
        return alloc_failed(error, count * sizeof **tops);
    }
    for (int32_t v = 0; v < l->box_count; v++) {
        double *height = &(*bottoms)[b->layers.rank[v]];
        *height = l->boxes[v].height > *height ? l->boxes[v].height : *height;
    }
    for (int32_t r = 0; r < b->layers.rank_count; r++) {
        (*tops)[r] = y;
        (*bottoms)[r] += y;
        y = (*bottoms)[r] + LAYOUT_RANK_GAP;
    }
    l->height = y - LAYOUT_RANK_GAP + MARGIN;
    return SPRY_OK;
}

static void set_boxes(builder *b, const double *tops)
{
    layout *l = b->drawing;
    double left = 0;
    double right = 0;

    for (int32_t v = 0; v < b->layers.count; v++) {
        double half = b->layers.width[v] / 2;
        left = v == 0 || b->layers.x[v] - half < left ? b->layers.x[v] - half : left;
        right = v == 0 || b->layers.x[v] + half > right ? b->layers.x[v] + half : right;
    }
    for (int32_t v = 0; v < b->layers.count; v++) {
        b->layers.x[v] += MARGIN - left;
    }
    for (int32_t v = 0; v < l->box_count; v++) {
        l->boxes[v].x = b->layers.x[v];
        l->boxes[v].rank = b->layers.rank[v];
        l->boxes[v].y = tops[b->layers.rank[v]];
    }
    l->width = right - left + 2 * MARGIN;
}

/* Edges that end at one box arrive side by side, in the order in which they come. */
static double port_offset(const builder *b, const layout_edge *e, const layout_edge *first,
                          int32_t count)
{
    double room = b->layers.width[e->to] * 0.7 / count;
    double gap = room < PORT_GAP ? room : PORT_GAP;
    double from = b->layers.x[last_stop(b, e)];
    int32_t place = 0;

    for (int32_t i = 0; i < count; i++) {
        double other = b->layers.x[last_stop(b, &first[i])];
        place += other < from || (other <= from && &first[i] < e);
    }
    return (place - (count - 1) / 2.0) * gap;
}

static spry_status set_route(builder *b, layout_edge *e, double offset, const double *tops,
                             const double *bottoms, spry_error *error)
{
    int32_t from_rank = b->layers.rank[e->from];
    int32_t span = b->layers.rank[e->to] - from_rank;
    layout_point *points = arena_array(b->layers.memory, (size_t)span * 2, sizeof *points);
    int32_t n = 0;

    if (points == NULL) {
        return alloc_failed(error, (size_t)span * 2 * sizeof *points);
    }
    const layout_box *box = &b->drawing->boxes[e->from];
    points[n++] = (layout_point){box->x, box->y + box->height};
    for (int32_t i = 0; i < span - 1; i++) {
        double x = b->layers.x[b->first_channel[e->from] + i];
        points[n++] = (layout_point){x, tops[from_rank + 1 + i]};
        points[n++] = (layout_point){x, bottoms[from_rank + 1 + i]};
    }
    points[n++] = (layout_point){b->layers.x[e->to] + offset, tops[from_rank + span]};
    e->points = points;
    e->point_count = n;
    return SPRY_OK;
}

static spry_status set_routes(builder *b, const double *tops, const double *bottoms,
                              spry_error *error)
{
    layout *l = b->drawing;
    int32_t end = 0;

    for (int32_t first = 0; first < l->edge_count; first = end) {
        for (end = first; end < l->edge_count && l->edges[end].to == l->edges[first].to; end++) {
        }
        for (int32_t e = first; e < end; e++) {
            double offset = port_offset(b, &l->edges[e], &l->edges[first], end - first);
            spry_status status = set_route(b, &l->edges[e], offset, tops, bottoms, error);
            if (status != SPRY_OK) {
                return status;
            }
        }
    }
    return SPRY_OK;
}

static spry_status check(const layout *l, spry_error *error)
{
    if (l->box_count > LAYOUT_MOST_BOXES || l->edge_count > LAYOUT_MOST_CHANNELS) {
        return spry_fail(error, SPRY_LIMIT, NULL, NULL,
                         "a graph of %d nodes is too large to be drawn (most: %d)",
                         (int)l->box_count, (int)LAYOUT_MOST_BOXES);
    }
    for (int32_t e = 0; e < l->edge_count; e++) {
        const layout_edge *edge = &l->edges[e];
        if (edge->from < 0 || edge->from >= edge->to || edge->to >= l->box_count) {
            return spry_fail(error, SPRY_INTERNAL, NULL, NULL, "edge %d leads upwards", (int)e);
        }
    }
    return SPRY_OK;
}

static spry_status build(builder *b, spry_error *error)
{
    size_t count = (size_t)b->drawing->box_count + 1;

    b->layers.rank = arena_array(b->layers.memory, count, sizeof(int32_t));
    b->first_channel = arena_array(b->layers.memory, count, sizeof(int32_t));
    b->lowest = arena_array(b->layers.memory, count, sizeof(int32_t));
    if (b->layers.rank == NULL || b->first_channel == NULL || b->lowest == NULL) {
        return alloc_failed(error, count * sizeof(int32_t));
    }
    if (b->drawing->edge_count > 0) {
        qsort(b->drawing->edges, (size_t)b->drawing->edge_count, sizeof(layout_edge),
              compare_edges);
    }
    set_ranks(b);
    spry_status status = pull_down(b, error);
    if (status == SPRY_OK) {
        status = add_channels(b, error);
    }
    if (status == SPRY_OK) {
        status = add_segments(b, error);
    }
    return status == SPRY_OK ? add_ranks(&b->layers, error) : status;
}

spry_status layout_place(layout *l, arena *memory, spry_error *error)
{
    builder b = {.drawing = l, .layers = {.memory = memory}};
    double *tops = NULL;
    double *bottoms = NULL;
    spry_status status = check(l, error);

    if (status == SPRY_OK) {
        status = build(&b, error);
    }
    if (status == SPRY_OK) {
        status = layout_reduce_crossings(&b.layers, error);
    }
    if (status == SPRY_OK) {
        status = layout_set_columns(&b.layers, error);
    }
    if (status == SPRY_OK) {
        status = set_rows(&b, &tops, &bottoms, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    set_boxes(&b, tops);
    return set_routes(&b, tops, bottoms, error);
}
