/* The model-local functions ai.spry.SkimLayer and SkimDecide: a layer of an encoder that skips
 * blocks of tokens (ops/skim.h) as standard operators, which mask what Spry leaves out. */
#ifndef MODEL_SKIM_FUNCTION_H
#define MODEL_SKIM_FUNCTION_H

#include "model/model.h"

enum { SKIM_FUNCTION_OPSET = 13 }; /* the oldest whose operators the functions are made of */

/* Adds the function SkimDecide (`decides`) or SkimLayer to the model, if it lacks it, for nodes of
 * the standard operator set `opset` (at least SKIM_FUNCTION_OPSET). Fails with SPRY_USAGE (another
 * function has its name), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status skim_function_add(model *m, bool decides, int64_t opset,
                                            spry_error *error);

/* True when this is one of those very functions: a file may call anything so. */
bool skim_function_is(const model_function *f);

#endif
