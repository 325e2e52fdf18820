/* TwinQuantize of the domain ai.spry: x -> T(x) of tensor/twin.h. Files define it as a function of
 * standard operators (model/twin_function.h), so that every runtime can run them. */
#ifndef OPS_TWIN_H
#define OPS_TWIN_H

#include "model/graph.h"
#include "tensor/twin.h"

#define TWIN_DOMAIN "ai.spry"
#define TWIN_OP "TwinQuantize"
#define TWIN_KIND "kind" /* int: a twin_kind */
#define TWIN_BITS "bits" /* int */
#define TWIN_D1 "d1"     /* float */
#define TWIN_D2 "d2"     /* float */

/* The grid that the node's attributes say; false when they make no sense. */
bool twin_read(const graph_node *n, twin_grid *grid);

#endif
