/* Threads that work beside the caller for as long as an object lives: readers, listeners. Loops
 * that the caller waits for belong to threads.h. */
#ifndef BASE_BACKGROUND_H
#define BASE_BACKGROUND_H

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct background background;

/* What each thread runs once; `worker` counts from 0. */
typedef void (*background_body)(void *context, int worker);

/* Starts `count` (0 to 1024) threads; fewer, perhaps none, when the system grants no more.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status background_start(const spry_allocator *allocator, int count,
                                           background_body body, void *context, background **made,
                                           spry_error *error);
int background_count(const background *b);
/* Waits until all have returned; telling them to is up to the caller. NULL is allowed. */
void background_join(background *b);

#endif
