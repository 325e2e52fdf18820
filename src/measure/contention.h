/* What the system tells about others on this machine: counters of the last-level cache, traffic to
 * memory, and how long work waited for a CPU. Much of it is closed to containers and virtual
 * machines, so each part says whether it is there. */
#ifndef MEASURE_CONTENTION_H
#define MEASURE_CONTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/status.h"

enum { CONTENTION_REASON = 96 };

typedef struct contention_counts {
    double references, misses; /* of the last-level cache */
    double traffic;            /* bytes to and from memory */
    double waited;             /* seconds for which some task waited for a CPU */
    double stolen;             /* seconds that the host gave to other machines, all CPUs together */
} contention_counts;

typedef struct contention {
    int fds[2]; /* of perf events; -1: none */
    bool has_counters, has_traffic, has_pressure, has_steal;
    char counters[CONTENTION_REASON]; /* "yes", or why not */
    char traffic[CONTENTION_REASON];
    char pressure[CONTENTION_REASON];
    char steal[CONTENTION_REASON];
    contention_counts start;
    int64_t start_ns;
} contention;

/* What there is counts from now on. Threads that this one starts later are counted too. */
void contention_open(contention *c);
/* Since contention_open; 0 where there is nothing. Returns the seconds that have passed. */
double contention_read(const contention *c, contention_counts *counts);
void contention_close(contention *c);

/* ---- for tests ---- */

/* Microseconds of "some ... total=N" in a file of /proc/pressure; -1: not there. */
double contention_parse_pressure(const char *content);
/* The eighth number of the line "cpu" of /proc/stat, ticks; -1: not there. */
double contention_parse_steal(const char *content);

#endif
