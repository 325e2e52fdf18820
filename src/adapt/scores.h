/* The operators around the scores of an attention, found from its result. */
#ifndef ADAPT_SCORES_H
#define ADAPT_SCORES_H

#include "model/graph.h"

/* The softmax whose weights reach value `id` first: the weights' own, not that of the layer before,
 * which the values come from. GRAPH_NONE: none within some steps. */
int32_t scores_softmax(const graph *g, int32_t id);

/* The product that value `id` comes from first, through factors, masks and reshapes. GRAPH_NONE:
 * none within some steps. */
int32_t scores_product(const graph *g, int32_t id);

/* Does the value show a softmax's weights, with no product in between? */
bool scores_shows_weights(const graph *g, int32_t id);

#endif
