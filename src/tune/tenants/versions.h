/* Several versions of the same work, of which each is best at some level of interference: few
 * threads or many, images between layers in memory or in caches. Which are worth keeping, and which
 * one runs next (VELTAIR, arXiv 2201.06212). */
#ifndef TUNE_TENANTS_VERSIONS_H
#define TUNE_TENANTS_VERSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "tune/tenants/interference.h"

enum { VERSIONS_KEPT = 5, VERSIONS_MOST = 64 };

typedef struct version_facts {
    double footprint; /* bytes that it moves through shared caches and memory */
    double alone_ms;
    int32_t chunks; /* independent parts: how far it spreads over cores */
} version_facts;

/* Writes the indices of those that no other equals or beats in footprint, time and chunks alike,
 * and that take no more than `most_ms` alone, by ascending footprint; of more than `most` (1 to
 * VERSIONS_KEPT), so many spread evenly, the fastest alone among them. Returns how many.
 * `count` is at most VERSIONS_MOST. */
int32_t versions_keep(const version_facts *all, int32_t count, double most_ms, int32_t most,
                      int32_t *kept);

/* Chooses among versions whose times by level are known. Interference is read from runs of the
 * version that is fastest alone, whose slowdown tells most; so while another one runs, that one is
 * tried now and then, less often the longer nothing changes. */
typedef struct version_choice {
    int32_t count;
    double ms[VERSIONS_KEPT][INTERFERENCE_LEVELS];
    int32_t alone; /* fastest at level 0 */
    int32_t current;
    int level;    /* of the last reading; -1: none yet */
    int32_t wait; /* runs between trials */
    int32_t left; /* runs until the next */
} version_choice;

/* `ms` by version and level; `count` at least 1. */
void version_choice_start(version_choice *c, int32_t count, double ms[][INTERFERENCE_LEVELS]);
/* The version to run next. */
int32_t version_choice_next(version_choice *c);
/* A level was read, from runs of version `c->alone`. Changes the version where another one is at
 * least 5 % faster at this level, and the level is the same as before. */
void version_choice_read(version_choice *c, int level);

#endif
