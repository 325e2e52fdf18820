/* The same flows as packets on a mesh of wormhole routers: what there is without a schedule.
 *
 * All packets wait in their sources from the cycle of their release on; each carries a header flit.
 * A multicast is a packet to every destination, in turns, or, with trees, one that routers copy
 * where ways part: with buffers of a whole packet at least, and branches that go on by themselves,
 * which is as much as such a router can do. A reduction is a packet from every source, added at its
 * end; or, with sums on the way, tiles at which such ways meet wait for a packet from each, add
 * them, and send one on. */
#ifndef SIMULATE_METRO_BASELINE_H
#define SIMULATE_METRO_BASELINE_H

#include "simulate/metro/schedule.h"
#include "simulate/noc/mesh.h"

enum { METRO_TREE_DEPTH = 16 }; /* flits of a channel, with trees */

typedef enum metro_collective {
    METRO_EACH,      /* packets to and from each */
    METRO_TREES,     /* multicasts that fork */
    METRO_TREES_SUMS /* and reductions that add on the way */
} metro_collective;

typedef struct metro_baseline {
    uint64_t makespan; /* cycle of the last flit's arrival, as latencies are counted */
    uint64_t flit_hops;
    mesh_counts counts;
} metro_baseline;

/* Flows that are released later than cycle 0 are not supported: SPRY_UNSUPPORTED. The mesh's sides
 * must be those of the flows; trees and sums need MESH_DOR; trees have 16 flits a channel if it had
 * fewer. Fails also with SPRY_NEGATIVE (deadlock), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_packets(const metro_flows *flows, const metro_options *options,
                                        const mesh_options *network, metro_collective how,
                                        metro_baseline *result, spry_error *error);

#endif
