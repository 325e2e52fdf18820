/* Operators by family, for colours, and the few attributes worth showing on a box. */
#ifndef INSPECT_FAMILY_H
#define INSPECT_FAMILY_H

#include "base/text.h"
#include "model/graph.h"

/* Name of the family, which is also the colour's name in the page's style: "conv", "matmul",
 * "norm", "activation", "pool", "shape", "arithmetic", "reduce", "quantize", "recurrent", "control"
 * or "other". */
const char *family_of(const graph_node *node);

/* Appends what tells one such node from another: "3x3 /2 g32", "axis 1", "0 2 1 3"; or nothing. */
void family_append_hint(text *to, const graph *g, const graph_node *node);

#endif
