/* What happens to a graph between the file and the plan. */
#ifndef RUNTIME_PREPARE_H
#define RUNTIME_PREPARE_H

#include "base/threads.h"
#include "model/graph.h"
#include "model/model.h"
#include "spry/session.h"
#include "tensor/value.h"

/* A copy of the model's graph in `memory`, with functions inlined, every operator resolved and
 * supported, and (unless options->keep_order) the clean-up passes applied.
 * Fails with SPRY_UNSUPPORTED, SPRY_BAD_INPUT, SPRY_LIMIT. */
SPRY_MUST_USE spry_status prepare_graph(const model *m, const spry_session_options *options,
                                        threads *team, arena *memory, graph **prepared,
                                        spry_error *error);

/* A copy of a prepared graph in `memory` for inputs of exactly the given types (in the order of the
 * graph's inputs; NULL where the initializer counts): all shapes inferred, all that has become
 * constant folded. Fails with SPRY_BAD_INPUT, SPRY_LIMIT. */
SPRY_MUST_USE spry_status prepare_for_inputs(const graph *prepared, const value *const *inputs,
                                             const spry_session_options *options, threads *team,
                                             arena *memory, graph **specialised, spry_error *error);

/* What is done for speed when all shapes are known: attention, fused operators, channels last.
 * Results differ in rounding. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status prepare_for_speed(graph *g, const spry_session_options *options,
                                            spry_error *error);

#endif
