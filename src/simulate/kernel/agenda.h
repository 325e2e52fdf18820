/* What is to happen, earliest first: a binary heap whose order is total, so that it comes out the
 * same way whatever the order in which it went in. */
#ifndef SIMULATE_KERNEL_AGENDA_H
#define SIMULATE_KERNEL_AGENDA_H

#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct agenda_entry {
    uint64_t time;
    int64_t rank;      /* at equal times */
    uint64_t sequence; /* at equal ranks */
    void (*run)(void); /* the owner casts it back */
    void *argument;
} agenda_entry;

typedef struct agenda {
    agenda_entry *entries;
    size_t count;
    size_t capacity;
} agenda;

/* Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status agenda_add(agenda *a, const spry_allocator *allocator,
                                     const agenda_entry *entry, spry_error *error);
/* The earliest, or NULL; and taking it away (there must be one). */
const agenda_entry *agenda_first(const agenda *a);
agenda_entry agenda_take(agenda *a);
void agenda_fini(agenda *a, const spry_allocator *allocator);

#endif
