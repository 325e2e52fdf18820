/* Each block begins with a line that holds its true size: it may be larger than what was asked for.
 *
 *     | size ... | memory handed out | */
#include "base/recycle.h"

#include <stdint.h>

#include "base/alloc.h"

/* A block may be this many times larger than the request it serves. */
enum { WASTE = 2 };

static void let_go(recycle *r, recycle_block block)
{
    alloc_release(&r->source, block.memory, block.size + ALLOC_ALIGNMENT);
}

static void *take(void *context, size_t size, size_t alignment)
{
    recycle *r = context;
    size_t *line;
    int best = -1;

    if (alignment > ALLOC_ALIGNMENT || size > SIZE_MAX / (2 * WASTE)) {
        return NULL;
    }
    for (int i = 0; i < r->count; i++) {
        size_t kept = r->kept[i].size;

        if (kept >= size && kept / WASTE <= size && (best < 0 || kept < r->kept[best].size)) {
            best = i;
        }
    }
    if (best >= 0) {
        line = r->kept[best].memory;
        r->kept[best] = r->kept[--r->count];
    } else {
        /* Pictures differ a little in size: an eighth more makes the next one fit. */
        size += size / 8;
        line = alloc_bytes(&r->source, size + ALLOC_ALIGNMENT);
        if (line == NULL) {
            return NULL;
        }
        *line = size;
    }
    return (uint8_t *)line + ALLOC_ALIGNMENT;
}

static void give_back(void *context, void *memory, size_t size)
{
    recycle *r = context;
    void *line = (uint8_t *)memory - ALLOC_ALIGNMENT;
    recycle_block block = {line, *(const size_t *)line};

    (void)size;
    if (r->count == RECYCLE_BLOCKS) {
        int smallest = 0;

        for (int i = 1; i < r->count; i++) {
            smallest = r->kept[i].size < r->kept[smallest].size ? i : smallest;
        }
        let_go(r, r->kept[smallest]);
        r->kept[smallest] = r->kept[--r->count];
    }
    r->kept[r->count++] = block;
}

void recycle_init(recycle *r, const spry_allocator *source)
{
    *r = (recycle){.source = alloc_resolve(source)};
}

void recycle_fini(recycle *r)
{
    while (r->count > 0) {
        let_go(r, r->kept[--r->count]);
    }
}

spry_allocator recycle_allocator(recycle *r)
{
    return (spry_allocator){take, give_back, r};
}
