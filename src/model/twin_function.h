/* The model-local function ai.spry.TwinQuantize: twin quantisation (tensor/twin.h) as standard
 * operators, so that every runtime computes the same numbers. Spry runs it as one operator
 * (ops/twin.h). */
#ifndef MODEL_TWIN_FUNCTION_H
#define MODEL_TWIN_FUNCTION_H

#include "model/model.h"

/* Adds the function to the model, if it lacks it, for nodes of the standard operator set `opset`
 * (at least 13), imports its domain, and raises the IR version to one that has functions.
 * Fails with SPRY_USAGE (another function has its name), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status twin_function_add(model *m, int64_t opset, spry_error *error);

/* True when this is that very function: a file may call anything so. */
bool twin_function_is(const model_function *f);

#endif
