/* Which channels of a graph must move together, and moving them.
 *
 * The axes of two values are of one class when an operator keeps their channels apart and in
 * order: the outputs of a convolution with its bias, the normalization and activation behind it,
 * and the inputs of whoever reads them; both operands of an Add. A class is free when nothing fixes
 * the order of its channels: inputs and outputs of the graph do, windows over pixels, Concat and
 * Split along the axis, Reshape that cuts or joins the axis, and every operator without a rule.
 * Permuting all constants along a free class leaves what the graph computes unchanged, but for the
 * order of sums. */
#ifndef QUANTIZE_CHANNEL_CLASSES_H
#define QUANTIZE_CHANNEL_CLASSES_H

#include "model/graph.h"

typedef struct channel_classes {
    int32_t count;  /* free classes of at least two channels along which f32 constants lie */
    int64_t *sizes; /* [count]: channels */
    int32_t *of;    /* [value_count][SPRY_TENSOR_MAX_RANK]: class of an axis, or GRAPH_NONE */
} channel_classes;

static inline int32_t channel_class(const channel_classes *c, int32_t value, int axis)
{
    return c->of[(int64_t)value * SPRY_TENSOR_MAX_RANK + axis];
}

/* Finds the classes of a graph whose types are inferred; arrays live in `memory`. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status channel_classes_find(const graph *g, arena *memory,
                                               channel_classes *found, spry_error *error);

/* orders[class][place] is the channel that comes there. Constants are replaced by permuted copies
 * that live as long as the graph. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status channel_classes_apply(graph *g, const channel_classes *c,
                                                int32_t *const *orders, spry_error *error);

#endif
