/* A bump allocator for things that die together: a graph's nodes and names, one run's temporaries.
 *
 *   chunk            chunk
 *   [used.....|free] [used........|free] -> ...      nothing is released singly
 *
 * An arena has a ceiling: the total it may ever hold, so that hostile input cannot exhaust memory.
 * Not thread-safe. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "spry/allocator.h"

/* Most that an arena takes from its allocator in advance. */
enum { ARENA_CHUNK_BYTES = 1 << 20 };

typedef struct arena_chunk arena_chunk;

typedef struct arena {
    spry_allocator allocator;
    arena_chunk *chunks; /* newest first */
    size_t used_bytes;   /* handed out, alignment included */
    size_t ceiling;
} arena;

/* An empty arena over `allocator` (NULL: the system's) that hands out at most `ceiling` bytes. */
void arena_init(arena *a, const spry_allocator *allocator, size_t ceiling);

/* Releases everything. The arena is then empty and may be used again. */
void arena_fini(arena *a);

/* Forgets everything handed out but keeps one chunk for re-use. */
void arena_reset(arena *a);

/* `size` zeroed bytes aligned to 64 when size >= 64, to 16 otherwise; NULL when memory ran out or
 * the ceiling is passed. */
void *arena_zeroed(arena *a, size_t size);

/* As arena_zeroed, not cleared. */
void *arena_bytes(arena *a, size_t size);

/* Zeroed room for `count` elements of `size` bytes; NULL also on overflow. */
void *arena_array(arena *a, size_t count, size_t size);

/* A NUL-terminated copy of `length` bytes. */
char *arena_text(arena *a, const char *text, size_t length);

#endif
