/* What happened when, in simulated time, as a Chrome trace for Perfetto (ui.perfetto.dev).
 *
 * A timeline has a track per component. Any other than the first TIMELINE_MOST records, and those
 * outside the window, are counted and dropped. A NULL timeline records nothing. */
#ifndef SIMULATE_KERNEL_TIMELINE_H
#define SIMULATE_KERNEL_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct timeline timeline;

enum { TIMELINE_MOST = 2000000, TIMELINE_TRACKS_MOST = 65536 };

/* Records what begins in [from, to) fs, at most `most` (0: TIMELINE_MOST) records.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status timeline_create(const spry_allocator *allocator, uint64_t from,
                                          uint64_t to, size_t most, timeline **made,
                                          spry_error *error);
/* NULL is allowed. */
void timeline_destroy(timeline *t);

/* A track named by a component's path; returns its number. -1 when there are too many, which the
 * functions below take as "do not record". */
int timeline_track(timeline *t, const char *path);

/* A span [start, end) fs. `category` and `name` must be string constants or live as long. */
void timeline_span(timeline *t, int track, uint64_t start, uint64_t end, const char *category,
                   const char *name);
/* `name` has `value` from `time` on. */
void timeline_value(timeline *t, int track, uint64_t time, const char *name, uint64_t value);

/* A copy of `name` that lives as long as the timeline; "" when memory runs out, and for NULL. */
const char *timeline_keep(timeline *t, const char *name);

uint64_t timeline_dropped(const timeline *t);

/* What was recorded, for those who draw it: a span, in the order of recording. */
typedef struct timeline_record {
    int track;
    uint64_t start, end; /* fs */
    const char *category, *name;
} timeline_record;

/* The first span at or behind `*at`, which then stands behind it; false when there is none. */
bool timeline_next_span(const timeline *t, size_t *at, timeline_record *record);
/* NULL beyond the last track. */
const char *timeline_track_path(const timeline *t, int track);

/* Replaces `path`; times in microseconds, exact to the femtosecond. `model` names the process.
 * Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status timeline_write(const timeline *t, const char *model, const char *path,
                                         spry_error *error);

#endif
