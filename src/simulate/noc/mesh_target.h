/* A mesh as a target describes it: section interconnect. */
#ifndef SIMULATE_NOC_MESH_TARGET_H
#define SIMULATE_NOC_MESH_TARGET_H

#include "simulate/noc/mesh.h"
#include "tune/target.h"

/* Reads interconnect.width and .height, and .channels (4), .depth (8), .routing_delay (1), .routing
 * ("dor") where they are given. Leaves the seed at 0.
 * Fails with SPRY_BAD_INPUT (a key is missing, mistyped or out of range). */
SPRY_MUST_USE spry_status mesh_options_read(target *t, mesh_options *options, spry_error *error);

#endif
