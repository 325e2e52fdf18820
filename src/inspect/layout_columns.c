/* Columns: vertices are joined into vertical blocks with their median neighbours and the blocks are
 * packed, four times (from above and below, to the left and to the right); the result is the mean
 * of the two middle ones. Brandes and Koepf, "Fast and simple horizontal coordinate assignment",
 * 2001. */
#include <stdlib.h>

#include "base/alloc.h"
#include "inspect/layout.h"
#include "inspect/layout_layers.h"

enum { WAYS = 4 };

/* One of the four packings, over a view of the ranks that may be mirrored. */
typedef struct packing {
    const layout_layers *l;
    const bool *conflicts; /* by index into l->up.list */
    bool from_below;
    bool mirrored;
    int32_t *root;    /* top vertex of the block that a vertex belongs to */
    int32_t *align;   /* next vertex of the block, cyclic */
    int32_t *waiting; /* of roots: left neighbours of the block that are not placed yet */
    int32_t *sorted;  /* roots, every block after those to its left */
    double *x;
} packing;

static int32_t rank_width(const layout_layers *l, int32_t r)
{
    return l->starts[r + 1] - l->starts[r];
}

static int32_t vertex_at(const packing *p, int32_t r, int32_t i)
{
    return p->l->order[p->mirrored ? p->l->starts[r + 1] - 1 - i : p->l->starts[r] + i];
}

static int32_t place_of(const packing *p, int32_t v)
{
    int32_t place = p->l->position[v];

    return p->mirrored ? rank_width(p->l, p->l->rank[v]) - 1 - place : place;
}

/* The vertex `step` places to the right (in this view), or -1. */
static int32_t beside(const packing *p, int32_t v, int32_t step)
{
    int32_t i = place_of(p, v) + step;

    return i < 0 || i >= rank_width(p->l, p->l->rank[v]) ? -1 : vertex_at(p, p->l->rank[v], i);
}

static double distance(const layout_layers *l, int32_t a, int32_t b)
{
    double gap =
        layout_is_channel(l, a) && layout_is_channel(l, b) ? LAYOUT_CHANNEL_GAP : LAYOUT_BOX_GAP;

    return (l->width[a] + l->width[b]) / 2 + gap;
}

/* ---- conflicts ---- */

static int32_t upper_channel(const layout_layers *l, int32_t v)
{
    if (!layout_is_channel(l, v)) {
        return -1;
    }
    int32_t above = l->up.list[l->up.offsets[v]];

    return layout_is_channel(l, above) ? above : -1;
}

/* Segments that cross a long edge give way to it. */
static void find_conflicts(const layout_layers *l, int32_t r, bool *conflicts)
{
    int32_t left = 0;
    int32_t next = l->starts[r];

    for (int32_t i = l->starts[r]; i < l->starts[r + 1]; i++) {
        int32_t inner = upper_channel(l, l->order[i]);
        int32_t right = rank_width(l, r - 1) - 1;
        if (inner < 0 && i + 1 < l->starts[r + 1]) {
            continue;
        }
        right = inner >= 0 ? l->position[inner] : right;
        for (; next <= i; next++) {
            int32_t v = l->order[next];
            for (int32_t k = l->up.offsets[v]; k < l->up.offsets[v + 1]; k++) {
                int32_t place = l->position[l->up.list[k]];
                bool is_inner = upper_channel(l, v) >= 0;
                conflicts[k] = !is_inner && (place < left || place > right);
            }
        }
        left = right;
    }
}

/* ---- blocks ---- */

static bool has_conflict(const packing *p, int32_t upper, int32_t lower)
{
    for (int32_t k = p->l->up.offsets[lower]; k < p->l->up.offsets[lower + 1]; k++) {
        if (p->l->up.list[k] == upper && p->conflicts[k]) {
            return true;
        }
    }
    return false;
}

/* Joins v with its median neighbour where no join before is crossed; returns the place reached. */
static int32_t join(const packing *p, const layout_neighbours *n, int32_t v, int32_t reached)
{
    int32_t first = n->offsets[v];
    int32_t count = n->offsets[v + 1] - first;

    for (int32_t half = 0; half < 2 && count > 0 && p->align[v] == v; half++) {
        int32_t middle = (count - 1 + half) / 2;
        int32_t u = n->list[p->mirrored ? first + count - 1 - middle : first + middle];
        bool crosses = p->from_below ? has_conflict(p, v, u) : has_conflict(p, u, v);
        if (!crosses && place_of(p, u) > reached) {
            reached = place_of(p, u);
            p->align[u] = v;
            p->root[v] = p->root[u];
            p->align[v] = p->root[v];
        }
    }
    return reached;
}

static void join_blocks(const packing *p)
{
    const layout_layers *l = p->l;

    for (int32_t v = 0; v < l->count; v++) {
        p->root[v] = v;
        p->align[v] = v;
    }
    for (int32_t i = 1; i < l->rank_count; i++) {
        int32_t r = p->from_below ? l->rank_count - 1 - i : i;
        int32_t reached = -1;
        for (int32_t k = 0; k < rank_width(l, r); k++) {
            reached = join(p, p->from_below ? &l->down : &l->up, vertex_at(p, r, k), reached);
        }
    }
}

/* ---- packing ---- */

/* Sorts the blocks so that each comes after all to its left. */
static int32_t sort_blocks(const packing *p)
{
    int32_t count = 0;

    for (int32_t v = 0; v < p->l->count; v++) {
        p->waiting[v] = 0;
    }
    for (int32_t v = 0; v < p->l->count; v++) {
        p->waiting[p->root[v]] += beside(p, v, -1) >= 0;
    }
    for (int32_t v = 0; v < p->l->count; v++) {
        if (p->root[v] == v && p->waiting[v] == 0) {
            p->sorted[count++] = v;
        }
    }
    for (int32_t i = 0; i < count; i++) {
        int32_t v = p->sorted[i];
        do {
            int32_t right = beside(p, v, 1);
            if (right >= 0 && --p->waiting[p->root[right]] == 0) {
                p->sorted[count++] = p->root[right];
            }
            v = p->align[v];
        } while (v != p->sorted[i]);
    }
    return count;
}

static void push_right(const packing *p, int32_t root)
{
    int32_t v = root;

    do {
        int32_t left = beside(p, v, -1);
        if (left >= 0) {
            double x = p->x[p->root[left]] + distance(p->l, left, v);
            p->x[root] = x > p->x[root] ? x : p->x[root];
        }
        v = p->align[v];
    } while (v != root);
}

/* Takes up the slack on the right, so that blocks without a left neighbour do not stay behind. */
static void pull_right(const packing *p, int32_t root)
{
    double room = -1;
    int32_t v = root;

    do {
        int32_t right = beside(p, v, 1);
        if (right >= 0) {
            double x = p->x[p->root[right]] - distance(p->l, v, right);
            room = room < 0 || x < room ? x : room;
        }
        v = p->align[v];
    } while (v != root);
    if (room > p->x[root]) {
        p->x[root] = room;
    }
}

static void pack(const packing *p)
{
    join_blocks(p);
    int32_t count = sort_blocks(p);

    for (int32_t v = 0; v < p->l->count; v++) {
        p->x[v] = 0;
    }
    for (int32_t i = 0; i < count; i++) {
        push_right(p, p->sorted[i]);
    }
    for (int32_t i = count - 1; i >= 0; i--) {
        pull_right(p, p->sorted[i]);
    }
    for (int32_t v = 0; v < p->l->count; v++) {
        p->x[v] = p->x[p->root[v]];
    }
    for (int32_t v = 0; p->mirrored && v < p->l->count; v++) {
        p->x[v] = -p->x[v];
    }
}

/* ---- the four together ---- */

static void find_extent(const layout_layers *l, const double *x, double *left, double *right)
{
    *left = 0;
    *right = 0;
    for (int32_t v = 0; v < l->count; v++) {
        double half = l->width[v] / 2;
        *left = v == 0 || x[v] - half < *left ? x[v] - half : *left;
        *right = v == 0 || x[v] + half > *right ? x[v] + half : *right;
    }
}

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Left packings are moved to the left edge of the narrowest one, right ones to its right edge. */
static void combine(layout_layers *l, double *const x[WAYS])
{
    double left[WAYS];
    double right[WAYS];
    int narrowest = 0;

    for (int w = 0; w < WAYS; w++) {
        find_extent(l, x[w], &left[w], &right[w]);
        if (right[w] - left[w] < right[narrowest] - left[narrowest]) {
            narrowest = w;
        }
    }
    for (int32_t v = 0; v < l->count; v++) {
        double places[WAYS];
        for (int w = 0; w < WAYS; w++) {
            double move = w % 2 == 0 ? left[narrowest] - left[w] : right[narrowest] - right[w];
            places[w] = x[w][v] + move;
        }
        qsort(places, WAYS, sizeof *places, compare_f64);
        l->x[v] = (places[1] + places[2]) / 2;
    }
}

/* By bucket: vertices are visited in order, so every list is filled in order. */
static spry_status sort_neighbours(layout_layers *l, spry_error *error)
{
    size_t count = (size_t)l->count + 1;
    int32_t *up = arena_array(l->memory, count, sizeof *up);
    int32_t *down = arena_array(l->memory, count, sizeof *down);

    if (up == NULL || down == NULL) {
        return alloc_failed(error, count * sizeof *up);
    }
    for (int32_t i = 0; i < l->count; i++) {
        int32_t v = l->order[i];
        for (int32_t k = l->up.offsets[v]; k < l->up.offsets[v + 1]; k++) {
            int32_t above = l->up.list[k];
            l->down.list[l->down.offsets[above] + down[above]++] = v;
        }
    }
    for (int32_t i = 0; i < l->count; i++) {
        int32_t v = l->order[i];
        for (int32_t k = l->down.offsets[v]; k < l->down.offsets[v + 1]; k++) {
            int32_t below = l->down.list[k];
            l->up.list[l->up.offsets[below] + up[below]++] = v;
        }
    }
    return SPRY_OK;
}

spry_status layout_set_columns(layout_layers *l, spry_error *error)
{
    size_t count = (size_t)l->count + 1;
    size_t segments = (size_t)l->up.offsets[l->count] + 1;
    double *x[WAYS] = {NULL};
    bool *conflicts = arena_array(l->memory, segments, sizeof *conflicts);
    packing p = {.l = l,
                 .conflicts = conflicts,
                 .root = arena_array(l->memory, count, sizeof *p.root),
                 .align = arena_array(l->memory, count, sizeof *p.align),
                 .waiting = arena_array(l->memory, count, sizeof *p.waiting),
                 .sorted = arena_array(l->memory, count, sizeof *p.sorted)};
    spry_status status = sort_neighbours(l, error);

    for (int w = 0; w < WAYS; w++) {
        x[w] = arena_array(l->memory, count, sizeof *x[w]);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (conflicts == NULL || p.root == NULL || p.align == NULL || p.waiting == NULL ||
        p.sorted == NULL || x[0] == NULL || x[1] == NULL || x[2] == NULL || x[3] == NULL) {
        return alloc_failed(error, count * sizeof **x);
    }
    for (int32_t r = 1; r < l->rank_count; r++) {
        find_conflicts(l, r, conflicts);
    }
    for (int w = 0; w < WAYS; w++) {
        p.from_below = w >= 2;
        p.mirrored = w % 2 == 1;
        p.x = x[w];
        pack(&p);
    }
    combine(l, x);
    return SPRY_OK;
}
