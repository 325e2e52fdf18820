/* The machine's shape: what block sizes, thread counts and reports are made from. */
#ifndef BASE_TOPOLOGY_H
#define BASE_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOPOLOGY_CACHES_MOST = 8 };

/* One kind of data or unified cache. */
typedef struct topology_cache {
    int level;      /* 1 is nearest to the core */
    int count;      /* how many of them the machine has */
    int threads;    /* hardware threads that share one */
    uint64_t bytes; /* of one */
    uint32_t line;  /* bytes per line; 0 where unknown */
    int ways;       /* associativity; 0 where unknown */
} topology_cache;

typedef struct topology {
    bool complete; /* false: found without hwloc, so caches and counts may be missing or guessed */
    int packages;  /* sockets */
    int cores;
    int threads; /* hardware threads of the machine, whether this process may use them or not */
    int numa_nodes;
    int cache_count;
    topology_cache caches[TOPOLOGY_CACHES_MOST]; /* nearest first */
    uint64_t memory_total;                       /* bytes of the machine */
    uint64_t memory_usable; /* as above, lowered to the process's cgroup limit */
} topology;

/* Examines this machine. Takes some milliseconds: do it once. Never fails; what cannot be found out
 * is taken from the C library or left 0, except the counts, which are at least 1. */
void topology_read(topology *machine);

/* As topology_read with hwloc's description read from a file (its XML export) and no cgroup limit:
 * for tests and for describing other machines. NULL is this machine. */
void topology_read_from(topology *machine, const char *xml_path);

/* The cache of a level, or NULL. */
const topology_cache *topology_find_cache(const topology *machine, int level);

#endif
