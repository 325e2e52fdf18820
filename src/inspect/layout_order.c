/* The order within ranks: sweeps down and up that put every vertex at the median of its neighbours,
 * keeping the best order seen. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "inspect/layout_layers.h"

enum { SWEEPS = 16 };

typedef struct sort_key {
    double median;
    int32_t position;
    int32_t vertex;
} sort_key;

static int compare_i32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

static int compare_keys(const void *a, const void *b)
{
    const sort_key *x = a;
    const sort_key *y = b;
    int by_median = (x->median > y->median) - (x->median < y->median);

    return by_median != 0 ? by_median : (x->position > y->position) - (x->position < y->position);
}

static void set_positions(layout_layers *l)
{
    for (int32_t r = 0; r < l->rank_count; r++) {
        for (int32_t i = l->starts[r]; i < l->starts[r + 1]; i++) {
            l->position[l->order[i]] = i - l->starts[r];
        }
    }
}

/* A first order that keeps branches together: depth first from the top. */
static spry_status order_by_depth(layout_layers *l, spry_error *error)
{
    size_t count = (size_t)l->count + 1;
    int32_t *stack = arena_array(l->memory, count, sizeof *stack);
    int32_t *filled = arena_array(l->memory, (size_t)l->rank_count + 1, sizeof *filled);
    bool *seen = arena_array(l->memory, count, sizeof *seen);

    if (stack == NULL || filled == NULL || seen == NULL) {
        return alloc_failed(error, count * sizeof *stack);
    }
    for (int32_t first = 0; first < l->count; first++) {
        int32_t depth = 0;
        if (!seen[first]) {
            seen[first] = true;
            stack[depth++] = first;
        }
        while (depth > 0) {
            int32_t v = stack[--depth];
            int32_t r = l->rank[v];
            l->order[l->starts[r] + filled[r]++] = v;
            for (int32_t i = l->down.offsets[v + 1]; i > l->down.offsets[v]; i--) {
                int32_t below = l->down.list[i - 1];
                if (!seen[below]) {
                    seen[below] = true;
                    stack[depth++] = below;
                }
            }
        }
    }
    set_positions(l);
    return SPRY_OK;
}

/* Crossings between rank r and the next: inversions of the lower ends, counted with a Fenwick tree
 * over positions. */
static int64_t count_between(const layout_layers *l, int32_t r, int32_t *tree, int32_t *ends)
{
    int32_t width = l->starts[r + 2] - l->starts[r + 1];
    int64_t crossings = 0;
    int64_t total = 0;

    memset(tree, 0, ((size_t)width + 1) * sizeof *tree);
    for (int32_t i = l->starts[r]; i < l->starts[r + 1]; i++) {
        int32_t v = l->order[i];
        int32_t count = l->down.offsets[v + 1] - l->down.offsets[v];
        for (int32_t k = 0; k < count; k++) {
            ends[k] = l->position[l->down.list[l->down.offsets[v] + k]];
        }
        if (count > 1) {
            qsort(ends, (size_t)count, sizeof *ends, compare_i32);
        }
        for (int32_t k = 0; k < count; k++) {
            int64_t not_right = 0;
            for (int32_t p = ends[k] + 1; p > 0; p -= p & -p) {
                not_right += tree[p];
            }
            crossings += total - not_right;
            for (int32_t p = ends[k] + 1; p <= width; p += p & -p) {
                tree[p]++;
            }
            total++;
        }
    }
    return crossings;
}

int64_t layout_count_crossings(const layout_layers *l, int32_t *tree, int32_t *ends)
{
    int64_t crossings = 0;

    for (int32_t r = 0; r + 1 < l->rank_count; r++) {
        crossings += count_between(l, r, tree, ends);
    }
    return crossings;
}

static double median_of(const layout_layers *l, const layout_neighbours *n, int32_t v,
                        int32_t *places)
{
    int32_t count = n->offsets[v + 1] - n->offsets[v];

    for (int32_t i = 0; i < count; i++) {
        places[i] = l->position[n->list[n->offsets[v] + i]];
    }
    if (count == 0) {
        return l->position[v];
    }
    if (count > 1) {
        qsort(places, (size_t)count, sizeof *places, compare_i32);
    }
    return (places[(count - 1) / 2] + places[count / 2]) / 2.0;
}

static void order_rank(layout_layers *l, int32_t r, const layout_neighbours *n, sort_key *keys,
                       int32_t *places)
{
    int32_t width = l->starts[r + 1] - l->starts[r];
    int32_t *order = &l->order[l->starts[r]];

    for (int32_t i = 0; i < width; i++) {
        keys[i] = (sort_key){median_of(l, n, order[i], places), i, order[i]};
    }
    if (width > 1) {
        qsort(keys, (size_t)width, sizeof *keys, compare_keys);
    }
    for (int32_t i = 0; i < width; i++) {
        order[i] = keys[i].vertex;
        l->position[order[i]] = i;
    }
}

static void sweep(layout_layers *l, bool downwards, sort_key *keys, int32_t *places)
{
    for (int32_t i = 1; i < l->rank_count; i++) {
        int32_t r = downwards ? i : l->rank_count - 1 - i;
        order_rank(l, r, downwards ? &l->up : &l->down, keys, places);
    }
}

spry_status layout_reduce_crossings(layout_layers *l, spry_error *error)
{
    size_t count = (size_t)l->count + 1;
    size_t segments = (size_t)l->down.offsets[l->count] + 1;
    sort_key *keys = arena_array(l->memory, count, sizeof *keys);
    int32_t *places = arena_array(l->memory, segments, sizeof *places);
    int32_t *tree = arena_array(l->memory, count, sizeof *tree);
    int32_t *best = arena_array(l->memory, count, sizeof *best);
    spry_status status = order_by_depth(l, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (keys == NULL || places == NULL || tree == NULL || best == NULL) {
        return alloc_failed(error, count * sizeof *keys);
    }
    int64_t fewest = layout_count_crossings(l, tree, places);
    memcpy(best, l->order, count * sizeof *best);
    for (int s = 0; s < SWEEPS && fewest > 0; s++) {
        sweep(l, s % 2 == 0, keys, places);
        int64_t crossings = layout_count_crossings(l, tree, places);
        if (crossings < fewest) {
            fewest = crossings;
            memcpy(best, l->order, count * sizeof *best);
        }
    }
    memcpy(l->order, best, count * sizeof *best);
    set_positions(l);
    return SPRY_OK;
}
