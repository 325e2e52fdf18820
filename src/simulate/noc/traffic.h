/* Synthetic traffic over a mesh: latency against load, as networks are compared. */
#ifndef SIMULATE_NOC_TRAFFIC_H
#define SIMULATE_NOC_TRAFFIC_H

#include "simulate/kernel/timeline.h"
#include "simulate/noc/mesh.h"

typedef enum traffic_pattern {
    TRAFFIC_UNIFORM,   /* any node, the sender's own included */
    TRAFFIC_TRANSPOSE, /* (x, y) to (y, x): square meshes */
    TRAFFIC_PATTERNS
} traffic_pattern;

typedef struct traffic_options {
    traffic_pattern pattern;
    double rate;       /* flits per node and cycle, in (0, 1] */
    int packet_flits;  /* 1 to 65535 */
    uint64_t warm_up;  /* cycles before packets are counted */
    uint64_t measured; /* cycles in which they are */
    uint64_t drain;    /* most cycles to wait for the last of them, with the traffic going on */
    uint64_t seed;
    /* Packets on their way, by source, a cycle being TRAFFIC_CYCLE; NULL: not recorded. */
    timeline *timeline;
    /* What is to be known of the mesh at the end, called once; may be NULL. */
    void (*look)(void *context, const mesh *m);
    void *context;
} traffic_options;

#define TRAFFIC_CYCLE ((uint64_t)1000000) /* fs, in timelines */

typedef struct traffic_result {
    double latency;         /* mean cycles from a packet's making to its tail's arrival */
    double network_latency; /* the same from its head's leaving */
    double hops;            /* mean routers */
    double accepted;        /* flits that arrived per node and cycle of the measured time */
    uint64_t packets;       /* that were measured and have arrived */
    bool drained;           /* all of them have */
    uint64_t cycles;        /* simulated */
    uint64_t flit_hops;
} traffic_result;

/* By name ("uniform", "transpose"); TRAFFIC_PATTERNS when there is none. */
traffic_pattern traffic_pattern_find(const char *name);
const char *traffic_pattern_name(traffic_pattern pattern);

/* Makes a mesh, loads it and throws it away. In each cycle each node makes a packet with
 * probability rate / packet_flits. Fails with SPRY_USAGE (a rate or a mesh that cannot be),
 * SPRY_NEGATIVE (deadlock; names routers), SPRY_LIMIT. */
SPRY_MUST_USE spry_status traffic_run(const spry_allocator *allocator, const mesh_options *network,
                                      const traffic_options *options, traffic_result *result,
                                      spry_error *error);

#endif
