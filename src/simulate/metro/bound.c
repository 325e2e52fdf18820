#include "simulate/metro/bound.h"

#include <stdlib.h>

static int by_tail(const void *a, const void *b)
{
    const metro_passing *x = a;
    const metro_passing *y = b;

    return (x->tail < y->tail) - (x->tail > y->tail);
}

int64_t metro_bound_of(metro_passing *items, int count)
{
    int64_t bound = 0;

    if (count > 1) {
        qsort(items, (size_t)count, sizeof *items, by_tail);
    }
    for (int i = 0; i < count; i++) {
        int64_t head = items[i].head;
        int64_t flits = 0;

        /* All that come no sooner than this one: longest tails first, each time ended there. */
        for (int k = 0; k < count; k++) {
            if (items[k].head >= head) {
                flits += items[k].flits;
                bound = head + flits + items[k].tail > bound ? head + flits + items[k].tail : bound;
            }
        }
    }
    return bound;
}
