/* What a simulation counts, and what that costs in energy.
 *
 * Everything is a whole number of events under a component's path. Energy is those numbers times a
 * table, multiplied once at the end: another table needs no new run. */
#ifndef SIMULATE_KERNEL_STATISTICS_H
#define SIMULATE_KERNEL_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "spry/allocator.h"
#include "spry/status.h"

typedef struct statistics statistics;

enum { HISTOGRAM_BUCKETS = 65, STATISTICS_MOST = 1 << 20 };

/* Of whole numbers: bucket 0 counts zeros, bucket b those from 2^(b-1) to 2^b - 1. */
typedef struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t least;
    uint64_t most;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram;

/* A price of one event; `source` says who measured it, and on what. */
typedef struct energy_price {
    const char *event;
    double picojoules;
    const char *source;
} energy_price;

/* Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status statistics_create(const spry_allocator *allocator, statistics **made,
                                            spry_error *error);
/* NULL is allowed. */
void statistics_destroy(statistics *s);

/* A counter at zero, to be added to by its one owner; the same path and name give the same one. It
 * lives as long as the statistics. `event` names a row of the table of prices, or is NULL.
 * Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status statistics_counter(statistics *s, const char *path, const char *name,
                                             const char *event, uint64_t **counter,
                                             spry_error *error);
SPRY_MUST_USE spry_status statistics_histogram(statistics *s, const char *path, const char *name,
                                               histogram **made, spry_error *error);

void histogram_add(histogram *h, uint64_t value);
/* 0 when empty. */
double histogram_mean(const histogram *h);

/* Joules in all, over every counter that has an event.
 * Fails with SPRY_BAD_INPUT naming an event that has no price. */
SPRY_MUST_USE spry_status statistics_energy(const statistics *s, const energy_price *prices,
                                            size_t count, double *joules, spry_error *error);

/* An object {path: {name: number | {count, sum, mean, least, most}}} in the order of paths and
 * names; with prices, each path also has "energy_pj" {event: picojoules} where there are any. The
 * same events give the same bytes. */
void statistics_write(const statistics *s, const energy_price *prices, size_t count,
                      json_writer *writer, const char *key);

#endif
