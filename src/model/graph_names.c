/* Open addressing with linear probing. Entries are never deleted: renaming swaps ids instead. */
#include "model/graph_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

enum { SMALLEST_CAPACITY = 16 };

/* Keyed by the table's address, so that a file cannot be built whose names all collide. */
static uint64_t hash_name(const graph_names *names, const char *name)
{
    uint64_t hash = (uint64_t)(uintptr_t)names * 0x9e3779b97f4a7c15u;

    for (const char *c = name; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return hash;
}

/* The slot that holds `name`, or the free one where it belongs. */
static int32_t *probe(const graph *g, const char *name)
{
    const graph_names *names = g->names;
    size_t mask = names->capacity - 1;
    size_t i = (size_t)hash_name(names, name) & mask;

    while (names->slots[i] != 0 && strcmp(g->values[names->slots[i] - 1].name, name) != 0) {
        i = (i + 1) & mask;
    }
    return &names->slots[i];
}

spry_status graph_names_reserve(graph *g, size_t count, spry_error *error)
{
    graph_names *names = g->names;
    size_t capacity = names->capacity > 0 ? names->capacity : SMALLEST_CAPACITY;
    int32_t *old = names->slots;
    size_t old_capacity = names->capacity;

    while (capacity / 4 * 3 < count) {
        capacity *= 2;
    }
    if (capacity == old_capacity) {
        return SPRY_OK;
    }
    names->slots = arena_array(g->memory, capacity, sizeof *names->slots);
    if (names->slots == NULL) {
        names->slots = old;
        return alloc_failed(error, capacity * sizeof *old);
    }
    names->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i] != 0) {
            *probe(g, g->values[old[i] - 1].name) = old[i];
        }
    }
    return SPRY_OK;
}

spry_status graph_names_insert(graph *g, int32_t id, spry_error *error)
{
    spry_status status = graph_names_reserve(g, g->names->count + 1, error);

    if (status == SPRY_OK) {
        *probe(g, g->values[id].name) = id + 1;
        g->names->count++;
    }
    return status;
}

int32_t *graph_names_slot(const graph *g, const char *name)
{
    int32_t *slot = g->names->capacity > 0 ? probe(g, name) : NULL;

    return slot != NULL && *slot != 0 ? slot : NULL;
}

static bool name_is_visible(const graph *g, const char *name)
{
    while (g != NULL && graph_names_slot(g, name) == NULL) {
        g = g->parent;
    }
    return g != NULL;
}

spry_status graph_names_fresh(graph *g, const char *base, const char **name, spry_error *error)
{
    char text[LIMIT_NAME_BYTES + 32];

    base = base != NULL ? base : "value";
    do { /* enclosing graphs too: ONNX forbids shadowing */
        g->names->counter++;
        (void)snprintf(text, sizeof text, "%.*s_%" PRIu64, LIMIT_NAME_BYTES - 24, base,
                       g->names->counter);
    } while (name_is_visible(g, text));
    *name = arena_text(g->memory, text, strlen(text));
    return *name != NULL ? SPRY_OK : alloc_failed(error, strlen(text) + 1);
}
