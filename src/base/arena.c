/* Bump allocation in chunks that double in size. */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

enum {
    FIRST_CHUNK_BYTES = 4096,
    LARGEST_CHUNK_BYTES = ARENA_CHUNK_BYTES,
    LARGE_BYTES = 64 << 10,
    HEADER_BYTES = 64
};

struct arena_chunk {
    arena_chunk *next;
    size_t size; /* header included */
    size_t used; /* header included */
};

_Static_assert(sizeof(arena_chunk) <= HEADER_BYTES, "the header must leave the data aligned");

void arena_init(arena *a, const spry_allocator *allocator, size_t ceiling)
{
    *a = (arena){.allocator = alloc_resolve(allocator), .ceiling = ceiling};
}

static void release_chunks(arena *a, arena_chunk *chunk)
{
    while (chunk != NULL) {
        arena_chunk *next = chunk->next;

        alloc_release(&a->allocator, chunk, chunk->size);
        chunk = next;
    }
}

void arena_fini(arena *a)
{
    release_chunks(a, a->chunks);
    a->chunks = NULL;
    a->used_bytes = 0;
}

void arena_reset(arena *a)
{
    if (a->chunks != NULL) {
        release_chunks(a, a->chunks->next);
        a->chunks->next = NULL;
        a->chunks->used = HEADER_BYTES;
    }
    a->used_bytes = 0;
}

/* A chunk for one large block, behind the head of the list, which goes on to be filled. */
static void *add_large(arena *a, size_t size)
{
    arena_chunk *chunk = alloc_bytes(&a->allocator, size + HEADER_BYTES);

    if (chunk == NULL) {
        return NULL;
    }
    *chunk = (arena_chunk){
        .next = a->chunks->next, .size = size + HEADER_BYTES, .used = size + HEADER_BYTES};
    a->chunks->next = chunk;
    return (unsigned char *)chunk + HEADER_BYTES;
}

/* A chunk with room for `size` more bytes at the head of the list. */
static arena_chunk *add_chunk(arena *a, size_t size)
{
    size_t wanted = a->chunks != NULL ? a->chunks->size : FIRST_CHUNK_BYTES / 2;
    size_t needed;
    arena_chunk *chunk;

    if (!checked_add(size, HEADER_BYTES, &needed)) {
        return NULL;
    }
    wanted = wanted > LARGEST_CHUNK_BYTES / 2 ? LARGEST_CHUNK_BYTES : wanted * 2;
    wanted = wanted < needed ? needed : wanted;
    chunk = alloc_bytes(&a->allocator, wanted);
    if (chunk == NULL) {
        return NULL;
    }
    *chunk = (arena_chunk){.next = a->chunks, .size = wanted, .used = HEADER_BYTES};
    a->chunks = chunk;
    return chunk;
}

void *arena_bytes(arena *a, size_t size)
{
    size_t alignment = size >= 64 ? 64 : 16;
    arena_chunk *chunk = a->chunks;
    size_t start = 0;
    size_t end = 0;
    size_t cost;
    size_t total;

    /* Whole steps of 16 count against the ceiling: a million single bytes are 16 MB of memory. */
    if (!checked_add(size != 0 ? size : 1, 15, &size)) {
        return NULL;
    }
    size -= size % 16;
    cost = size;
    if (chunk != NULL) {
        start = (chunk->used + alignment - 1) / alignment * alignment;
        cost = size + (start - chunk->used);
    }
    if (!checked_add(a->used_bytes, cost, &total) || total > a->ceiling) {
        return NULL;
    }
    if (chunk != NULL && size >= LARGE_BYTES && size < SIZE_MAX - HEADER_BYTES) {
        void *block = add_large(a, size);

        a->used_bytes = block != NULL ? total : a->used_bytes;
        return block;
    }
    if (chunk == NULL || !checked_add(start, size, &end) || end > chunk->size) {
        chunk = add_chunk(a, size);
        if (chunk == NULL) {
            return NULL;
        }
        start = HEADER_BYTES;
        end = start + size;
    }
    chunk->used = end;
    a->used_bytes = total;
    return (unsigned char *)chunk + start;
}

void *arena_zeroed(arena *a, size_t size)
{
    void *memory = arena_bytes(a, size);

    if (memory != NULL) {
        memset(memory, 0, size);
    }
    return memory;
}

void *arena_array(arena *a, size_t count, size_t size)
{
    size_t bytes;

    return checked_mul(count, size, &bytes) ? arena_zeroed(a, bytes) : NULL;
}

char *arena_text(arena *a, const char *text, size_t length)
{
    size_t size;
    char *copy;

    if (!checked_add(length, 1, &size)) {
        return NULL;
    }
    copy = arena_bytes(a, size);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}
