#include "simulate/kernel/statistics.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"

enum { MEMORY_BYTES = 1 << 30 };

typedef struct entry {
    const char *path;
    const char *name;
    const char *event;
    uint64_t *counter;
    histogram *histogram;
} entry;

struct statistics {
    spry_allocator allocator;
    arena memory;
    entry *entries; /* sorted by path, then name */
    size_t count;
    size_t capacity;
};

spry_status statistics_create(const spry_allocator *allocator, statistics **made, spry_error *error)
{
    spry_allocator use = alloc_resolve(allocator);
    statistics *s = alloc_zeroed(&use, sizeof *s);

    *made = s;
    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = use;
    arena_init(&s->memory, &use, MEMORY_BYTES);
    return SPRY_OK;
}

void statistics_destroy(statistics *s)
{
    spry_allocator allocator;

    if (s == NULL) {
        return;
    }
    allocator = s->allocator;
    alloc_release(&allocator, s->entries, s->capacity * sizeof *s->entries);
    arena_fini(&s->memory);
    alloc_release(&allocator, s, sizeof *s);
}

static int compare(const entry *e, const char *path, const char *name)
{
    int order = strcmp(e->path, path);

    return order != 0 ? order : strcmp(e->name, name);
}

/* The first entry that does not stand before (path, name). */
static size_t place_of(const statistics *s, const char *path, const char *name)
{
    size_t low = 0;
    size_t high = s->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(&s->entries[middle], path, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const char *keep(statistics *s, const char *string)
{
    return arena_text(&s->memory, string, strlen(string));
}

/* The entry of (path, name), new ones without a value. */
static spry_status find(statistics *s, const char *path, const char *name, entry **found,
                        spry_error *error)
{
    size_t at = place_of(s, path, name);
    void *entries = s->entries;
    entry made = {0};
    spry_status status;

    if (at < s->count && compare(&s->entries[at], path, name) == 0) {
        *found = &s->entries[at];
        return SPRY_OK;
    }
    status = alloc_grow(&s->allocator, &entries, &s->capacity, s->count + 1, sizeof *s->entries,
                        STATISTICS_MOST, error);
    s->entries = entries;
    if (status != SPRY_OK) {
        return status;
    }
    made.path = keep(s, path);
    made.name = keep(s, name);
    if (made.path == NULL || made.name == NULL) {
        return alloc_failed(error, strlen(path) + strlen(name) + 2);
    }
    memmove(&s->entries[at + 1], &s->entries[at], (s->count - at) * sizeof *s->entries);
    s->entries[at] = made;
    s->count++;
    *found = &s->entries[at];
    return SPRY_OK;
}

spry_status statistics_counter(statistics *s, const char *path, const char *name, const char *event,
                               uint64_t **counter, spry_error *error)
{
    entry *found = NULL;
    spry_status status = find(s, path, name, &found, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (found->counter == NULL) {
        found->counter = arena_zeroed(&s->memory, sizeof *found->counter);
        found->event = event != NULL ? keep(s, event) : NULL;
        if (found->counter == NULL || (event != NULL && found->event == NULL)) {
            return alloc_failed(error, sizeof *found->counter);
        }
    }
    *counter = found->counter;
    return SPRY_OK;
}

spry_status statistics_histogram(statistics *s, const char *path, const char *name,
                                 histogram **made, spry_error *error)
{
    entry *found = NULL;
    spry_status status = find(s, path, name, &found, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (found->histogram == NULL) {
        found->histogram = arena_zeroed(&s->memory, sizeof *found->histogram);
        if (found->histogram == NULL) {
            return alloc_failed(error, sizeof *found->histogram);
        }
    }
    *made = found->histogram;
    return SPRY_OK;
}

void histogram_add(histogram *h, uint64_t value)
{
    int bucket = 0;

    for (uint64_t rest = value; rest != 0; rest >>= 1) {
        bucket++;
    }
    h->least = h->count == 0 || value < h->least ? value : h->least;
    h->most = value > h->most ? value : h->most;
    h->count++;
    h->sum += value;
    h->buckets[bucket]++;
}

double histogram_mean(const histogram *h)
{
    return h->count > 0 ? (double)h->sum / (double)h->count : 0.0;
}

static const energy_price *price_of(const char *event, const energy_price *prices, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(prices[i].event, event) == 0) {
            return &prices[i];
        }
    }
    return NULL;
}

spry_status statistics_energy(const statistics *s, const energy_price *prices, size_t count,
                              double *joules, spry_error *error)
{
    double picojoules = 0.0;

    for (size_t i = 0; i < s->count; i++) {
        const entry *e = &s->entries[i];
        const energy_price *price;

        if (e->event == NULL) {
            continue;
        }
        price = price_of(e->event, prices, count);
        if (price == NULL) {
            return spry_fail(error, SPRY_BAD_INPUT, e->path, "add it to the section energy",
                             "the event %s has no price", e->event);
        }
        picojoules += (double)*e->counter * price->picojoules;
    }
    *joules = picojoules * 1e-12;
    return SPRY_OK;
}

static void write_entry(const entry *e, json_writer *writer)
{
    const histogram *h = e->histogram;

    if (e->counter != NULL) {
        json_write_u64(writer, e->name, *e->counter);
    }
    if (h != NULL) {
        json_write_object(writer, e->name);
        json_write_u64(writer, "count", h->count);
        json_write_u64(writer, "sum", h->sum);
        json_write_f64(writer, "mean", histogram_mean(h));
        json_write_u64(writer, "least", h->least);
        json_write_u64(writer, "most", h->most);
        json_write_end(writer);
    }
}

/* The energies of entries [from, to), which share a path. */
static void write_energy(const statistics *s, size_t from, size_t to, const energy_price *prices,
                         size_t count, json_writer *writer)
{
    bool begun = false;

    for (size_t i = from; i < to; i++) {
        const entry *e = &s->entries[i];
        const energy_price *price = e->event != NULL ? price_of(e->event, prices, count) : NULL;

        if (price == NULL) {
            continue;
        }
        if (!begun) {
            json_write_object(writer, "energy_pj");
            begun = true;
        }
        json_write_f64(writer, e->name, (double)*e->counter * price->picojoules);
    }
    if (begun) {
        json_write_end(writer);
    }
}

void statistics_write(const statistics *s, const energy_price *prices, size_t count,
                      json_writer *writer, const char *key)
{
    size_t to = 0;

    json_write_object(writer, key);
    for (size_t from = 0; from < s->count; from = to) {
        json_write_object(writer, s->entries[from].path);
        for (to = from; to < s->count && strcmp(s->entries[to].path, s->entries[from].path) == 0;
             to++) {
            write_entry(&s->entries[to], writer);
        }
        write_energy(s, from, to, prices, count, writer);
        json_write_end(writer);
    }
    json_write_end(writer);
}
