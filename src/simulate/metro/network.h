/* The traffic of a layer on a mesh of tiles: which flows bring weights and inputs from the memory
 * ports, add partial sums, and take results back.
 *
 * Filters, output pixels and input channels are split over the tiles; tile number
 * (pixel part * channel parts + channel part) * filter parts + filter part, row by row. */
#ifndef SIMULATE_METRO_NETWORK_H
#define SIMULATE_METRO_NETWORK_H

#include "simulate/layers.h"
#include "simulate/metro/flows.h"

enum { METRO_PORTS_MOST = 16 };

typedef struct metro_parts {
    int filters, pixels, channels; /* their product is the number of tiles, or less */
} metro_parts;

typedef struct metro_tiles {
    int ports[METRO_PORTS_MOST]; /* tiles at which the memory is attached */
    int port_count;              /* at least 1 */
    int element_bytes;           /* of inputs, weights and results; partial sums have 4 */
    int64_t macs;                /* of a tile, per cycle */
} metro_tiles;

/* Memory ports at the corners. */
void metro_tiles_default(metro_tiles *t, int width, int height);

/* Filters along rows of the mesh and pixels along its columns, where there are enough of both;
 * channels in four parts where the reduction is long beside the filters. */
metro_parts metro_parts_of(const simulate_layer *l, int width, int height);

/* Adds the flows of a layer as one burst: everything may start at once. Fails with SPRY_USAGE (no
 * port), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_layer_flows(metro_flows *f, const simulate_layer *l,
                                            const metro_tiles *tiles, metro_parts parts,
                                            spry_error *error);

/* Cycles that the busiest tile computes. */
int64_t metro_layer_compute(const simulate_layer *l, const metro_tiles *tiles, metro_parts parts);

#endif
