/* Shape and type inference over a whole graph.
 *
 * Every operator's `infer` rule is asked in topological order; what it says is merged with what
 * the file declares. Dimensions may stay symbolic ("N") or unknown: inference is tolerant of
 * what is not known and refuses what contradicts itself. */
#ifndef MODEL_INFER_H
#define MODEL_INFER_H

#include "model/graph.h"

/* Fills the types of all values, and the symbolic contents of small integer tensors, here and in
 * subgraphs. The graph must be sorted. Nodes without a definition leave their outputs as declared.
 * May be repeated after bindings or rewrites.
 * Fails with SPRY_BAD_INPUT (a shape rule is broken, or a declared type contradicts the inferred
 * one; the error names the node), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status infer_graph(graph *g, spry_error *error);

/* Gives input `name` a narrower type: sizes where the model has symbols or unknowns. A symbol
 * that becomes a size becomes so in all inputs. Fails with SPRY_USAGE (no such input, another
 * kind, element type or rank, a fixed size differs). */
SPRY_MUST_USE spry_status infer_bind_input(graph *g, const char *name, const graph_type *type,
                                           spry_error *error);

/* Gives the symbolic dimension `symbol` a size in all inputs.
 * Fails with SPRY_USAGE (no input has it, a size that is negative or above 2^31 - 1). */
SPRY_MUST_USE spry_status infer_bind_symbol(graph *g, const char *symbol, int64_t size,
                                            spry_error *error);

/* Joins what two sources say about one value into `type`. False when they contradict each other;
 * `type` is then unchanged. */
bool infer_merge(graph_type *type, const graph_type *other);

#endif
