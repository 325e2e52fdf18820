/* The model-local function ai.spry.HeadPolicy (ops/head_policy.h) as standard operators: a mask of
 * windows and sinks by head. */
#ifndef MODEL_HEAD_POLICY_FUNCTION_H
#define MODEL_HEAD_POLICY_FUNCTION_H

#include "model/model.h"

enum { HEAD_POLICY_FUNCTION_OPSET = 13 }; /* the oldest whose operators it is made of */

/* Adds the function to the model, if it lacks it, for nodes of the standard operator set `opset`
 * (at least HEAD_POLICY_FUNCTION_OPSET). Fails with SPRY_USAGE (another function has its name),
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status head_policy_function_add(model *m, int64_t opset, spry_error *error);

/* True when this is that very function: a file may call anything so. */
bool head_policy_function_is(const model_function *f);

#endif
