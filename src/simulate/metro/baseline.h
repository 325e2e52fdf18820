/* The same flows as packets on a mesh of wormhole routers: what there is without a schedule.
 *
 * All packets wait in their sources from the cycle of their release on; each carries a header flit.
 * A reduction is a packet from every source. A multicast is a packet to every destination, in
 * turns, or, with trees, one that routers copy where ways part: with buffers of a whole packet at
 * least, and branches that go on by themselves, which is as much as such a router can do. */
#ifndef SIMULATE_METRO_BASELINE_H
#define SIMULATE_METRO_BASELINE_H

#include "simulate/metro/schedule.h"
#include "simulate/noc/mesh.h"

enum { METRO_PAYLOAD = 8, METRO_TREE_DEPTH = 16 }; /* flits of a packet beside its header */

typedef struct metro_baseline {
    uint64_t makespan; /* cycle of the last flit's arrival, as latencies are counted */
    uint64_t flit_hops;
} metro_baseline;

/* Flows that are released later than cycle 0 are not supported: SPRY_UNSUPPORTED. The mesh's sides
 * must be those of the flows; trees need MESH_DOR, and have 16 flits a channel if it had fewer.
 * Fails also with SPRY_NEGATIVE (deadlock), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_packets(const metro_flows *flows, const metro_options *options,
                                        const mesh_options *network, bool trees,
                                        metro_baseline *result, spry_error *error);

#endif
