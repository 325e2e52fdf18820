/* A mesh of wormhole routers with virtual channels: the classic network on a chip, cycle by cycle.
 *
 * Node (x, y) of a width x height mesh is y * width + x. Every router has five ports (east, west,
 * north, south, its own node), per input port `channels` virtual channels with buffers of `depth`
 * flits each. A head flit takes routing_delay cycles to be routed, then one each to be given a
 * virtual channel, to be given the switch, to cross it and to cross the link; the flits behind it
 * need the last three. Hence a lone packet of L flits through H routers (its first and last
 * included) arrives 2 + (4 + routing_delay) H + L - 1 cycles after it was sent.
 *
 * Both allocators are separable, input first, round robin; pointers move with grants alone. A
 * credit is worth something 3 cycles after its flit left. The model is that of BookSim 2 (Jiang and
 * others, ISPASS 2013), to which tests/simulate/test_noc.c compares it. */
#ifndef SIMULATE_NOC_MESH_H
#define SIMULATE_NOC_MESH_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct mesh mesh;

typedef enum mesh_routing {
    MESH_DOR,       /* east-west first, then north-south */
    MESH_XY_YX,     /* either order, by a coin per packet; half of the channels each */
    MESH_ROMM,      /* by way of a random node between the two, half of the channels each leg */
    MESH_VALIANT,   /* by way of any node */
    MESH_MIN_ADAPT, /* as BookSim's: in order, and channel 0 as a way out of deadlock */
    MESH_ADAPTIVE,  /* whichever way that is not longer has more room; channel 0 as above */
    MESH_ROUTINGS
} mesh_routing;

enum { MESH_SIDE_MOST = 64, MESH_CHANNELS_MOST = 12, MESH_DEPTH_MOST = 256 };

typedef struct mesh_options {
    int width;         /* 1 to MESH_SIDE_MOST */
    int height;        /* 1 to MESH_SIDE_MOST */
    int channels;      /* 1 to MESH_CHANNELS_MOST; at least 2 unless the routing is MESH_DOR */
    int depth;         /* flits, 1 to MESH_DEPTH_MOST */
    int routing_delay; /* 0 (looked ahead) to 8 */
    mesh_routing routing;
    uint64_t seed; /* of the routings that draw */
} mesh_options;

/* A packet that has arrived, tail and all. */
typedef struct mesh_arrival {
    int source;
    int destination;
    int hops; /* routers, both ends included */
    int flits;
    uint64_t tag;
    uint64_t created;
    uint64_t injected; /* when the head left its node */
    uint64_t arrived;
} mesh_arrival;

typedef void (*mesh_receiver)(void *context, const mesh_arrival *arrival);

typedef struct mesh_counts {
    uint64_t cycles;
    uint64_t injected_flits;
    uint64_t ejected_flits;
    uint64_t flit_hops;   /* flits that crossed a switch */
    uint64_t packet_hops; /* heads that did */
} mesh_counts;

/* By its name in BookSim's files ("dor", "xy_yx", ...); MESH_ROUTINGS when there is none. */
mesh_routing mesh_routing_find(const char *name);
const char *mesh_routing_name(mesh_routing routing);

/* `receive` is called for each arrival, within mesh_step; may be NULL.
 * Fails with SPRY_USAGE (an option is out of its range), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status mesh_create(const spry_allocator *allocator, const mesh_options *options,
                                      mesh_receiver receive, void *context, mesh **made,
                                      spry_error *error);
/* NULL is allowed. */
void mesh_destroy(mesh *m);

/* Puts a packet of `flits` (1 to 65535) into the queue of its source, created in the present cycle;
 * it may leave in this very cycle. A packet to its own node passes that node's router.
 * Fails with SPRY_USAGE (a node off the mesh, no flits), SPRY_LIMIT. */
SPRY_MUST_USE spry_status mesh_send(mesh *m, int source, int destination, int flits, uint64_t tag,
                                    spry_error *error);

/* For packets from `source` to each of `destinations` (doubles count once; the source itself is
 * reached through its router): copies are made where ways part, which go on by themselves. Only
 * with MESH_DOR. Fails with SPRY_USAGE (a node off the mesh, none, another routing), SPRY_LIMIT. */
SPRY_MUST_USE spry_status mesh_add_group(mesh *m, int source, const int *destinations, int count,
                                         int *group, spry_error *error);
/* As mesh_send, to a group; `receive` is called for each destination. Fails also with SPRY_USAGE
 * for more flits than a channel's buffer holds. */
SPRY_MUST_USE spry_status mesh_send_group(mesh *m, int group, int flits, uint64_t tag,
                                          spry_error *error);

/* One cycle. Nothing is allocated. */
void mesh_step(mesh *m);

/* The number of the present cycle: those that mesh_step has finished. */
uint64_t mesh_cycle(const mesh *m);
/* Packets that were sent and have not arrived. */
uint64_t mesh_underway(const mesh *m);
/* Has anything moved during the last cycles, or was nothing to move? Flits that stand still for
 * longer than any wait for a credit are in deadlock. */
bool mesh_stuck(const mesh *m);
/* Always SPRY_NEGATIVE; names routers whose flits wait. */
spry_status mesh_deadlock(const mesh *m, spry_error *error);
const mesh_counts *mesh_count(const mesh *m);
/* Flits over the link that leaves `node` through `port` (0 east, 1 west, 2 north, 3 south, 4 to the
 * node itself). */
uint64_t mesh_link_flits(const mesh *m, int node, int port);

#endif
