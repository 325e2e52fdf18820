/* Raising a model to a newer operator set, where every operator keeps its meaning. */
#ifndef QUANTIZE_RAISE_H
#define QUANTIZE_RAISE_H

#include "model/model.h"

/* Brings the model's main graph, whose types are inferred, and its bodies from its standard
 * operator set to set `to`, at most 21; nothing when it is there already. Attributes that became
 * inputs are moved, defaults that changed are spelled out.
 * Fails with SPRY_UNSUPPORTED (an operator that means something else in set `to`: the error names
 * it and nothing is changed), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status raise_opset(model *m, int32_t to, spry_error *error);

/* True when raise_opset would succeed. */
bool raise_fits(const model *m, int32_t to);

#endif
