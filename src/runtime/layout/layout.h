/* Layout: regions of the graph whose images are held channels-last (NHWC),
 * [batch][height][width][channels], where convolutions read and write contiguous pixels. Transposes
 * stand at the edges only.
 *
 * A node of such a region keeps its name, attributes (pads, strides, ...) and its weights' shape
 * [filters][channels][height][width]; it carries the attribute LAYOUT_ATTRIBUTE = 1, and the types
 * of its images are the transposed ones. It is in FUSE_DOMAIN, INTEGER_DOMAIN or LAYOUT_DOMAIN, so
 * that it can never reach a reference kernel: only nodes that a provider executes are moved.
 * Elementwise operators do not care and stay what they are; operators along an axis (Concat,
 * Softmax, ...) have the axis renumbered. A node that carries LAYOUT_PLANAR_INPUT too reads its
 * first image as the file has it, [batch][channels][height][width]: providers that can are asked
 * whether they do. */
#ifndef RUNTIME_LAYOUT_LAYOUT_H
#define RUNTIME_LAYOUT_LAYOUT_H

#include "runtime/provider/provider.h"

#define LAYOUT_DOMAIN "ai.spry.nhwc"
#define LAYOUT_ATTRIBUTE "spry_nhwc"
#define LAYOUT_PLANAR_INPUT "spry_planar_input"

/* True when the node's images are channels-last. */
static inline bool layout_is_nhwc(const graph_node *node)
{
    return graph_attribute_int(node, LAYOUT_ATTRIBUTE, 0) != 0;
}

/* True when the first one is not. */
static inline bool layout_reads_planar(const graph_node *node)
{
    return graph_attribute_int(node, LAYOUT_PLANAR_INPUT, 0) != 0;
}

/* Moves what it can of an inferred, fused, sorted graph; leaves it sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status layout_graph(graph *g, const spry_session_options *options,
                                       spry_error *error);

#endif
