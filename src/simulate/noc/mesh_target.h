/* A mesh as a target describes it: section interconnect. */
#ifndef SIMULATE_NOC_MESH_TARGET_H
#define SIMULATE_NOC_MESH_TARGET_H

#include "simulate/noc/mesh.h"
#include "tune/target.h"

/* Reads interconnect.width and .height, and .channels (4), .depth (8), .routing_delay (1), .routing
 * ("dor") where they are given. Leaves the seed at 0.
 * Fails with SPRY_BAD_INPUT (a key is missing, mistyped or out of range). */
SPRY_MUST_USE spry_status mesh_options_read(target *t, mesh_options *options, spry_error *error);

/* What only some readers of a mesh use. */
typedef struct mesh_hardware {
    int flit_bits; /* interconnect.flit, 256 b unless given */
    int table;     /* interconnect.table: entries of a scheduled router, 256 unless given */
    bool has_prices;
    double link_bit, crossbar_bit, buffer_bit; /* joules of a bit: a link, a crossbar, written to a
                                                  buffer and read */
    double allocation, entry; /* joules: channels and switch for a packet and router; reading an
                                 entry of a table */
    const char *source;       /* of the prices; lives as long as the target */
} mesh_hardware;

/* Fails with SPRY_BAD_INPUT (mistyped, out of range, some prices of energy.noc but not all). */
SPRY_MUST_USE spry_status mesh_hardware_read(target *t, mesh_hardware *h, spry_error *error);

#endif
