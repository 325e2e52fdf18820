/* Memory for time: activations that the backward pass reads are computed again there, from inputs
 * that it holds anyway, instead of being kept since the forward pass. */
#ifndef TRAIN_RECOMPUTE_H
#define TRAIN_RECOMPUTE_H

#include "model/graph.h"

/* Changes `g`, a whole step in the order in which it runs, whose nodes up to the one that computes
 * `loss` are the forward pass. Only cheap operators whose results are the same every time are
 * repeated (rectifiers and their like, norms), and only where what they start from lives until
 * then: results keep their bits. *repeated counts them. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status recompute_activations(graph *g, int32_t loss, int32_t *repeated,
                                                spry_error *error);

#endif
