/* Pairs: a convolution of single pixels and the depthwise one that alone reads it, channels-last.
 *
 *     Conv 1 x 1 -> depthwise Conv      what MobileNets and EfficientNets begin their blocks with
 *
 * becomes one node in the domain PAIR_DOMAIN with the depthwise one's name, first ports and
 * attributes, which computes a few rows of the wide image in between as they are needed: that image
 * is never in memory as a whole. Pairs are made last, of nodes that would be executed channels-last
 * one by one, where the image in between is larger than a core's own cache; they exist in plans
 * alone. */
#ifndef RUNTIME_PAIR_H
#define RUNTIME_PAIR_H

#include "runtime/provider/provider.h"

#define PAIR_DOMAIN "ai.spry.pair"
#define PAIR_FIRST_LOWER "spry_first_lower" /* the clamp and activation of the first (fuse.h) */
#define PAIR_FIRST_UPPER "spry_first_upper"
#define PAIR_FIRST_ACTIVATION "spry_first_activation"

enum { PAIR_FIRST_WEIGHTS = 4, PAIR_FIRST_BIAS = 5, PAIR_PORTS = 6 };

/* Pairs what it can in a graph that layout_graph and fuse_activations are done with; leaves it
 * sorted. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status pair_graph(graph *g, const spry_session_options *options,
                                     spry_error *error);

#endif
