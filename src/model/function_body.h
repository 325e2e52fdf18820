/* Bodies of functions that Spry writes and knows again. */
#ifndef MODEL_FUNCTION_BODY_H
#define MODEL_FUNCTION_BODY_H

#include "model/graph.h"

/* Are the bodies the same but for names? Nodes have one result each; scratch in `memory`. */
bool function_body_same(const graph *a, const graph *b, arena *memory);

#endif
