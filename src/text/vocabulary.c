/* A list of tokens with a hash table over it. */
#include "text/vocabulary.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash64.h"
#include "base/limits.h"

enum { FIRST_SLOTS = 1024 };

void vocabulary_init(vocabulary *v, const spry_allocator *allocator)
{
    *v = (vocabulary){.allocator = alloc_resolve(allocator)};
    arena_init(&v->memory, &v->allocator, SIZE_MAX);
}

void vocabulary_fini(vocabulary *v)
{
    alloc_release(&v->allocator, v->entries, v->entry_capacity * sizeof *v->entries);
    alloc_release(&v->allocator, v->slots, v->slot_count * sizeof *v->slots);
    arena_fini(&v->memory);
    vocabulary_init(v, &v->allocator);
}

/* Where the token is, or the free slot where it belongs. There is always a free one. */
static size_t slot_of(const vocabulary *v, const char *bytes, size_t length)
{
    size_t slot = (size_t)hash64(bytes, length, 0) & (v->slot_count - 1);

    while (v->slots[slot] != 0) {
        const vocabulary_entry *e = &v->entries[v->slots[slot] - 1];

        if (e->length == length && memcmp(e->bytes, bytes, length) == 0) {
            break;
        }
        slot = (slot + 1) & (v->slot_count - 1);
    }
    return slot;
}

static spry_status grow_slots(vocabulary *v, spry_error *error)
{
    size_t count = v->slot_count > 0 ? v->slot_count * 2 : FIRST_SLOTS;
    int32_t *old = v->slots;
    size_t old_count = v->slot_count;
    int32_t *slots = alloc_array(&v->allocator, count, sizeof *slots);

    if (slots == NULL) {
        return alloc_failed(error, count * sizeof *slots);
    }
    v->slots = slots;
    v->slot_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i] != 0) {
            const vocabulary_entry *e = &v->entries[old[i] - 1];
            slots[slot_of(v, e->bytes, e->length)] = old[i];
        }
    }
    alloc_release(&v->allocator, old, old_count * sizeof *old);
    return SPRY_OK;
}

spry_status vocabulary_add(vocabulary *v, const char *where, const char *bytes, size_t length,
                           int64_t id, spry_error *error)
{
    void *entries = v->entries;

    if (id < 0 || id >= LIMIT_VOCABULARY || length > LIMIT_NAME_BYTES) {
        return spry_fail(error, SPRY_LIMIT, where, NULL,
                         "token %lld: ids go to %d, and tokens have at most %d bytes",
                         (long long)id, (int)LIMIT_VOCABULARY - 1, (int)LIMIT_NAME_BYTES);
    }
    vocabulary_entry e = vocabulary_at(v, id);
    if (e.bytes != NULL) {
        return e.length == length && memcmp(e.bytes, bytes, length) == 0
                   ? SPRY_OK
                   : spry_fail(error, SPRY_BAD_INPUT, where, NULL,
                               "id %lld stands for '%.80s' and for '%.80s'", (long long)id, e.bytes,
                               bytes);
    }
    spry_status status =
        (size_t)id < v->count
            ? SPRY_OK
            : alloc_grow(&v->allocator, &entries, &v->entry_capacity, (size_t)id + 1,
                         sizeof *v->entries, LIMIT_VOCABULARY, error);
    v->entries = entries;
    if (status == SPRY_OK && (v->filled + 1) * 2 > v->slot_count) {
        status = grow_slots(v, error);
    }
    char *copy = status == SPRY_OK ? arena_text(&v->memory, bytes, length) : NULL;
    if (copy == NULL) {
        return status == SPRY_OK ? alloc_failed(error, length + 1) : status;
    }
    size_t slot = slot_of(v, bytes, length);
    v->filled += v->slots[slot] == 0;
    v->entries[id] = (vocabulary_entry){copy, (uint32_t)length};
    v->slots[slot] = (int32_t)id + 1;
    v->count = (size_t)id + 1 > v->count ? (size_t)id + 1 : v->count;
    v->longest = length > v->longest ? length : v->longest;
    return SPRY_OK;
}

int32_t vocabulary_find(const vocabulary *v, const char *bytes, size_t length)
{
    return v->slot_count == 0 || length > v->longest ? -1 : v->slots[slot_of(v, bytes, length)] - 1;
}

int32_t vocabulary_find_string(const vocabulary *v, const char *string)
{
    return string == NULL ? -1 : vocabulary_find(v, string, strlen(string));
}

vocabulary_entry vocabulary_at(const vocabulary *v, int64_t id)
{
    return id >= 0 && (size_t)id < v->count ? v->entries[id] : (vocabulary_entry){NULL, 0};
}
