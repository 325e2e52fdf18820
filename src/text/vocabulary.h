/* Tokens by id and ids by token. Ids may have gaps; several ids may have equal bytes where a file
 * says so, and the last one then stands for them. */
#ifndef TEXT_VOCABULARY_H
#define TEXT_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "spry/status.h"

typedef struct vocabulary_entry {
    const char *bytes; /* NULL: the id has no token */
    uint32_t length;
} vocabulary_entry;

typedef struct vocabulary {
    spry_allocator allocator;
    arena memory; /* of the bytes */
    vocabulary_entry *entries;
    size_t count; /* largest id + 1 */
    size_t entry_capacity;
    int32_t *slots; /* id + 1 in an open hash table; 0: free */
    size_t slot_count;
    size_t filled;
    size_t longest; /* bytes of the longest token */
} vocabulary;

void vocabulary_init(vocabulary *v, const spry_allocator *allocator);
void vocabulary_fini(vocabulary *v);

/* Copies `length` bytes as token `id`.
 * Fails with SPRY_BAD_INPUT (the id has other bytes already), SPRY_LIMIT (LIMIT_VOCABULARY,
 * LIMIT_NAME_BYTES, memory). `where` names the file. */
SPRY_MUST_USE spry_status vocabulary_add(vocabulary *v, const char *where, const char *bytes,
                                         size_t length, int64_t id, spry_error *error);

/* The id of a token, or -1. */
int32_t vocabulary_find(const vocabulary *v, const char *bytes, size_t length);
int32_t vocabulary_find_string(const vocabulary *v, const char *string);
/* The token of an id; bytes NULL where there is none. */
vocabulary_entry vocabulary_at(const vocabulary *v, int64_t id);

#endif
