/* An allocator that keeps what it gets back for the next request of about that size: for work that
 * takes and gives back the same few blocks again and again. One thread at a time. */
#ifndef BASE_RECYCLE_H
#define BASE_RECYCLE_H

#include <stddef.h>

#include "spry/allocator.h"

/* Blocks that wait to be taken again; the smallest is let go when there are more. */
enum { RECYCLE_BLOCKS = 8 };

typedef struct recycle_block {
    void *memory;
    size_t size;
} recycle_block;

typedef struct recycle {
    spry_allocator source;
    recycle_block kept[RECYCLE_BLOCKS];
    int count;
} recycle;

void recycle_init(recycle *r, const spry_allocator *source);
/* Everything taken must have been given back. */
void recycle_fini(recycle *r);

/* The allocator; `r` must stay where it is. Alignments up to ALLOC_ALIGNMENT. */
spry_allocator recycle_allocator(recycle *r);

#endif
