/* What a link, or the end of a node, must take at least for all flows that pass it. */
#ifndef SIMULATE_METRO_BOUND_H
#define SIMULATE_METRO_BOUND_H

#include <stdint.h>

/* A flow that passes: the least cycle at which it may, its flits, the least cycles from its last
 * flit's passing to its end. */
typedef struct metro_passing {
    int64_t head, flits, tail;
} metro_passing;

/* The earliest end of all: of any of them together, the first head, all flits, the least tail.
 * Adding one never lowers it. Changes the order of `items`; 0 for none. */
int64_t metro_bound_of(metro_passing *items, int count);

#endif
