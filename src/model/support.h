/* Which nodes of a graph Spry cannot run: told all at once, before anything runs. */
#ifndef MODEL_SUPPORT_H
#define MODEL_SUPPORT_H

#include "model/model.h"

/* Calls `callback` for every (operator, opset, element type) of the graph and its subgraphs that
 * has no definition; returns how many. Types should have been inferred as far as possible. */
int64_t support_list(const graph *g, spry_unsupported_callback callback, void *context);

/* SPRY_OK, or SPRY_UNSUPPORTED with an error that counts the missing operators and names the first
 * ones. */
SPRY_MUST_USE spry_status support_check(const graph *g, spry_error *error);

#endif
