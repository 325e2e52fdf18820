/* Spans of one part that overlap in time, on as many tracks of a timeline as that takes: viewers
 * want the spans of a track apart, or within each other. */
#ifndef SIMULATE_KERNEL_LANES_H
#define SIMULATE_KERNEL_LANES_H

#include "simulate/kernel/timeline.h"

enum { LANES_MOST = 32 };

typedef struct lanes {
    int count;
    int tracks[LANES_MOST];
    uint64_t ends[LANES_MOST]; /* of the last span on each */
} lanes;

/* As timeline_span, on the first track of `path` that is free from `start` on. Spans come in the
 * order of their ends. What finds all LANES_MOST tracks taken is left out. */
void lanes_span(lanes *l, timeline *t, const char *path, uint64_t start, uint64_t end,
                const char *category, const char *name);

#endif
