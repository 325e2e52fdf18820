/* The same flows as packets on a mesh of wormhole routers: what there is without a schedule.
 *
 * All packets wait in their sources from the cycle of their release on; each carries a header flit.
 * A multicast is a packet to every destination, in turns; a reduction a packet from every source. */
#ifndef SIMULATE_METRO_BASELINE_H
#define SIMULATE_METRO_BASELINE_H

#include "simulate/metro/schedule.h"
#include "simulate/noc/mesh.h"

enum { METRO_PAYLOAD = 8 }; /* flits of a packet beside its header */

typedef struct metro_baseline {
    uint64_t makespan; /* cycle after the last flit's arrival */
    uint64_t flit_hops;
} metro_baseline;

/* Flows that are released later than cycle 0 are not supported: SPRY_UNSUPPORTED. The mesh's sides
 * must be those of the flows. Fails also with SPRY_NEGATIVE (deadlock), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_unicast(const metro_flows *flows, const metro_options *options,
                                        const mesh_options *network, metro_baseline *result,
                                        spry_error *error);

#endif
