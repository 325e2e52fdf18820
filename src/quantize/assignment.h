/* Bits per operator: what options ask of all, and what assignments and exclusions ask of some. */
#ifndef QUANTIZE_ASSIGNMENT_H
#define QUANTIZE_ASSIGNMENT_H

#include "quantize/job.h"

typedef struct operator_bits {
    int weights;     /* 0: the operator stays f32 */
    int activations; /* 0: it reads f32 */
    bool excluded;   /* by name: spry_quantize_options.exclude */
} operator_bits;

/* Of the assignments that match an operator, the last that says something decides. */
operator_bits assignment_of(const quantize_job *job, const graph_node *n);

/* Does any operator get integer activations? */
bool assignment_wants_activations(const spry_quantize_options *options);

/* Checks the bits of all assignments. Fails with SPRY_USAGE. */
SPRY_MUST_USE spry_status assignment_check(const spry_quantize_options *options, spry_error *error);

/* Nodes without a name take their label as name, by which they are known however nodes move. Fails
 * with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status assignment_name_nodes(graph *g, spry_error *error);

/* Before the graph changes: names nodes; names that are asked for must exist. Fails with SPRY_USAGE
 * (no operator of that name), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status assignment_prepare(quantize_job *job, spry_error *error);

#endif
