/* The model-local function ai.spry.KeyFilter (ops/key_filter.h) as standard operators: codes are
 * rounded, products of codes are summed exactly in f32, and means are taken in f64. */
#ifndef MODEL_KEY_FILTER_FUNCTION_H
#define MODEL_KEY_FILTER_FUNCTION_H

#include "model/model.h"

enum { KEY_FILTER_FUNCTION_OPSET = 13 }; /* the oldest whose operators it is made of */

/* Adds the function to the model, if it lacks it, for nodes of the standard operator set `opset`
 * (at least KEY_FILTER_FUNCTION_OPSET). Fails with SPRY_USAGE (another function has its name),
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status key_filter_function_add(model *m, int64_t opset, spry_error *error);

/* True when this is that very function: a file may call anything so. */
bool key_filter_function_is(const model_function *f);

#endif
