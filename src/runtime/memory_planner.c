/* Greedy placement by size with best-fit gaps. */
#include "runtime/memory_planner.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"

static int larger_first(const void *a, const void *b)
{
    const planner_buffer *x = *(planner_buffer *const *)a;
    const planner_buffer *y = *(planner_buffer *const *)b;

    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? 1 : -1;
    }
    if (x->first != y->first) {
        return x->first < y->first ? -1 : 1;
    }
    return x < y ? -1 : 1; /* same order on every machine */
}

static size_t rounded(size_t bytes)
{
    return bytes / ALLOC_ALIGNMENT * ALLOC_ALIGNMENT +
           (bytes % ALLOC_ALIGNMENT != 0 ? ALLOC_ALIGNMENT : 0);
}

/* `placed` holds `count` buffers in order of offset. Returns the offset of the tightest gap among
 * those alive together with `b`, or of the end. */
static size_t find_gap(planner_buffer *const *placed, int32_t count, const planner_buffer *b)
{
    size_t needed = rounded(b->bytes);
    size_t free_from = 0;
    size_t best = SIZE_MAX;
    size_t best_room = SIZE_MAX;

    for (int32_t i = 0; i < count; i++) {
        const planner_buffer *other = placed[i];
        size_t end = other->offset + rounded(other->bytes);

        if (other->last < b->first || other->first > b->last) {
            continue;
        }
        if (other->offset >= free_from && other->offset - free_from >= needed &&
            other->offset - free_from < best_room) {
            best = free_from;
            best_room = other->offset - free_from;
        }
        free_from = end > free_from ? end : free_from;
    }
    return best != SIZE_MAX ? best : free_from;
}

static void insert_by_offset(planner_buffer **placed, int32_t count, planner_buffer *b)
{
    int32_t i = count;

    while (i > 0 && placed[i - 1]->offset > b->offset) {
        placed[i] = placed[i - 1];
        i--;
    }
    placed[i] = b;
}

spry_status planner_place(const spry_allocator *allocator, planner_buffer *buffers, int32_t count,
                          size_t *total, spry_error *error)
{
    size_t list_bytes = (size_t)count * sizeof(planner_buffer *);
    planner_buffer **order = alloc_array(allocator, (size_t)count, sizeof *order);
    planner_buffer **placed = alloc_array(allocator, (size_t)count, sizeof *placed);
    spry_status status = SPRY_OK;

    *total = 0;
    if (order == NULL || placed == NULL) {
        status = alloc_failed(error, list_bytes);
        goto done;
    }
    for (int32_t i = 0; i < count; i++) {
        order[i] = &buffers[i];
    }
    qsort(order, (size_t)count, sizeof *order, larger_first);
    for (int32_t i = 0; i < count; i++) {
        planner_buffer *b = order[i];
        size_t end;

        b->offset = find_gap(placed, i, b);
        if (b->bytes > SIZE_MAX / 2 || !checked_add(b->offset, rounded(b->bytes), &end)) {
            status = alloc_failed(error, b->bytes);
            goto done;
        }
        *total = end > *total ? end : *total;
        insert_by_offset(placed, i, b);
    }
done:
    alloc_release(allocator, order, list_bytes);
    alloc_release(allocator, placed, list_bytes);
    return status;
}
