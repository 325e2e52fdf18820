/* Regions: chains of convolutions of which a mask says, per image, where their results count.
 *
 *     M = mask of zeros and ones [N][1][H][W], from a comparison, also repeated by Resize
 *     F = Conv [-> activation] -> ... -> Conv               each read by the next one alone
 *     Y = Mul(F, M) [-> Add(shortcut) [-> Relu | Clip]]     or, of bytes,
 *         Mul(F, M)  -> QuantizeLinear [-> QLinearAdd(other)]
 *
 * becomes one node in the domain REGION_DOMAIN that computes F where M is one, and of what stands
 * before only what these pixels read (LASNet, arXiv 2210.06223). What is not read is never
 * computed, so an infinity there does not become the NaN that it is when multiplied by zero.
 *
 * Regions are made of nodes that would be executed channels-last one by one, where no other node
 * reads what is between them; they exist in plans alone. A layer is kept as a slice of the region's
 * ports and one of its attributes: region_layer_node makes a node of them. */
#ifndef RUNTIME_REGION_REGION_H
#define RUNTIME_REGION_REGION_H

#include "runtime/provider/provider.h"

#define REGION_DOMAIN "ai.spry.region"
#define REGION_TYPE "Region"
#define REGION_LAYERS "spry_layers"              /* ints: a region_record for each */
#define REGION_MASK_ROWS "spry_region_mask_rows" /* int: which axis of REGION_MASK, 1 or 2 */
#define REGION_LOWER "spry_region_lower"         /* float: the clamp of the sum; absent: none */
#define REGION_UPPER "spry_region_upper"
/* int 1: the shortcut lies within the clamp, so that where nothing is added it is the result. */
#define REGION_KEEPS "spry_region_keeps"

enum {
    REGION_X = 0,
    REGION_MASK = 1,     /* [N or 1][h][w] in this order: not 0 means one; repeated to the result */
    REGION_SHORTCUT = 2, /* of the result's type, or omitted */
    /* Of QuantizeLinear, and its zero point, which are those of the last layer's result too;
     * omitted: results are f32. */
    REGION_SCALE = 3,
    REGION_ZERO = 4,
    REGION_SHORTCUT_SCALE = 5, /* of QLinearAdd */
    REGION_SHORTCUT_ZERO = 6,
    REGION_Y_SCALE = 7,
    REGION_Y_ZERO = 8,
    REGION_PORTS = 9, /* those of the layers follow */
    REGION_MOST_LAYERS = 6,
    REGION_LAYER_PORTS = 9 /* at most */
};

typedef struct region_record {
    int64_t first_port, ports;
    int64_t first_attribute, attributes;
    int64_t input, output; /* values; those between layers have no producer */
    int64_t is_integer;    /* QLinearConv of INTEGER_DOMAIN, else Conv of FUSE_DOMAIN */
    int64_t macs;
} region_record;

enum { REGION_RECORD = (int)(sizeof(region_record) / sizeof(int64_t)) };

/* The layer's convolution: `inputs` and `output` are room for its ports. */
typedef struct region_layer_node {
    graph_node node;
    int32_t inputs[REGION_LAYER_PORTS];
    int32_t output;
} region_layer_node;

/* How many layers the region has; 0 when the node is none. */
int region_layer_count(const graph_node *n);
void region_read_layer(const graph_node *n, int layer, region_layer_node *l);

/* Finds regions in a graph that layout_graph and fuse_activations are done with; leaves it sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status region_graph(graph *g, const spry_session_options *options,
                                       spry_error *error);

#endif
