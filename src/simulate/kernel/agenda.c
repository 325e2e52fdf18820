#include "simulate/kernel/agenda.h"

#include <stdbool.h>

#include "base/alloc.h"

enum { AGENDA_MOST = 1 << 26 };

static bool before(const agenda_entry *a, const agenda_entry *b)
{
    if (a->time != b->time) {
        return a->time < b->time;
    }
    if (a->rank != b->rank) {
        return a->rank < b->rank;
    }
    return a->sequence < b->sequence;
}

spry_status agenda_add(agenda *a, const spry_allocator *allocator, const agenda_entry *entry,
                       spry_error *error)
{
    void *entries = a->entries;
    spry_status status = SPRY_OK;
    size_t at = a->count;

    if (a->count == a->capacity) {
        status = alloc_grow(allocator, &entries, &a->capacity, a->count + 1, sizeof *a->entries,
                            AGENDA_MOST, error);
        a->entries = entries;
    }
    if (status != SPRY_OK) {
        return status;
    }
    a->count++;
    while (at > 0 && before(entry, &a->entries[(at - 1) / 2])) {
        a->entries[at] = a->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    a->entries[at] = *entry;
    return SPRY_OK;
}

const agenda_entry *agenda_first(const agenda *a)
{
    return a->count > 0 ? &a->entries[0] : NULL;
}

agenda_entry agenda_take(agenda *a)
{
    agenda_entry first = a->entries[0];
    agenda_entry last = a->entries[--a->count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < a->count && before(&a->entries[child + 1], &a->entries[child])) {
            child++;
        }
        if (child >= a->count || !before(&a->entries[child], &last)) {
            break;
        }
        a->entries[at] = a->entries[child];
        at = child;
    }
    if (a->count > 0) {
        a->entries[at] = last;
    }
    return first;
}

void agenda_fini(agenda *a, const spry_allocator *allocator)
{
    alloc_release(allocator, a->entries, a->capacity * sizeof *a->entries);
    *a = (agenda){0};
}
