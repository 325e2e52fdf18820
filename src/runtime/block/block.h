/* Blocks: layers that run together, strip by strip of rows, so that the images between them are
 * never in memory as a whole.
 *
 * The layers that the caller names (spry/blocks.h) become one node in the domain BLOCK_DOMAIN, in a
 * graph that layout_graph, fuse_activations and region_graph are done with. Its ports and
 * attributes are those of its layers, one after the other, without the images in between; a layer
 * can be read as a node of its own. Blocks exist in plans alone. */
#ifndef RUNTIME_BLOCK_BLOCK_H
#define RUNTIME_BLOCK_BLOCK_H

#include "runtime/provider/strips.h"
#include "spry/blocks.h"

#define BLOCK_DOMAIN "ai.spry.block"
#define BLOCK_TYPE "Block"
#define BLOCK_LAYERS "spry_block_layers"   /* ints: a block_record for each */
#define BLOCK_VALUES "spry_block_values"   /* ints: for each port, the value that the layer reads */
#define BLOCK_NAMES "spry_block_names"     /* strings: type and domain of each layer */
#define BLOCK_STRIP "spry_block_strip"     /* int */
#define BLOCK_CHUNK "spry_block_chunk"     /* int */
#define BLOCK_THREADS "spry_block_threads" /* int, of any node: how many threads; absent: all */

enum { BLOCK_MOST_LAYERS = SPRY_BLOCK_MOST_LAYERS, BLOCK_LAYER_PORTS = 16 };

typedef struct block_record {
    int64_t first_port, ports;
    int64_t first_attribute, attributes;
    int64_t output; /* value; those between layers have no producer */
    int64_t opset;
    int64_t macs;
} block_record;

enum { BLOCK_RECORD = (int)(sizeof(block_record) / sizeof(int64_t)) };

/* A layer as a node: `inputs` and `output` are room for its ports. */
typedef struct block_node {
    graph_node node;
    int64_t first_port; /* among the block's */
    int64_t macs;
    int32_t inputs[BLOCK_LAYER_PORTS];
    int32_t output;
} block_node;

/* How many layers the block has; 0 when the node is none. */
int block_layer_count(const graph_node *n);
void block_read_layer(const graph_node *n, int layer, block_node *l);

/* Makes options->blocks of a graph; leaves it sorted. Fails with SPRY_USAGE (a block that cannot
 * be), SPRY_LIMIT. */
SPRY_MUST_USE spry_status block_graph(graph *g, const spry_session_options *options,
                                      spry_error *error);

/* The layers of such a graph, in its order; names and the list live in `memory`. */
SPRY_MUST_USE spry_status block_list(const graph *g, const spry_session_options *options,
                                     arena *memory, spry_layer **layers, int32_t *count,
                                     spry_error *error);

/* The port of the image that a layer adds, if it has it: of a convolution its residual. -1: it adds
 * none. */
int block_other_port(const graph_node *n);

/* Multiply-adds of a node of static shapes, for all images; 0 when unknown. */
int64_t block_macs(const graph *g, const graph_node *n);

/* A copy in `memory`, or NULL when memory ran out. */
const spry_blocks *block_copy(const spry_blocks *from, arena *memory);

#endif
