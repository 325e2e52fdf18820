/* Attention: the chain of operators that exporters write it as becomes one node.
 *
 *     MatMul | Einsum  ->  [* scale]  ->  [+ mask | Where]  ->  Softmax  ->  MatMul | Einsum
 *
 * with transpositions, reshapes, splits and repetitions around it (runtime/view.h) and factors on
 * queries and keys; and the operator Attention itself in its plain form. The node is in
 * ATTENTION_DOMAIN, reads what its queries, keys and values lie in, and carries their strides as
 * attributes; it exists in plans alone and its provider executes it. */
#ifndef RUNTIME_ATTENTION_ATTENTION_H
#define RUNTIME_ATTENTION_ATTENTION_H

#include "kernels/attention/attention_heads.h"
#include "runtime/provider/provider.h"

#define ATTENTION_DOMAIN "ai.spry.attention"

enum { ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_MASK, ATTENTION_PORTS };

/* Constants of an attention that filters its keys (ops/key_filter.h), behind these. */
enum { ATTENTION_SCALE = ATTENTION_PORTS, ATTENTION_ALPHA, ATTENTION_FILTER_PORTS };

/* What the node says: the problem without its pointers, and where in its inputs the first elements
 * lie. */
typedef struct attention_form {
    attention_problem problem;
    int64_t offsets[ATTENTION_PORTS];
} attention_form;

/* The form of a node of the domain; false for other nodes. */
bool attention_read(const graph_node *n, attention_form *form);

/* Which keys the heads of such a node look at, into policies[heads]; false where all look at all:
 * they come from HeadPolicy (ops/head_policy.h) between scores and softmax. */
bool attention_read_policies(const graph_node *n, int64_t heads, attention_policy *policies);

/* Does such a node filter its keys? *factor: what its keys count times, which their codes' scales
 * are to be divided by. */
bool attention_read_filter(const graph_node *n, float *factor);

/* Rewrites what it can of an inferred, sorted graph; leaves it sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status attention_graph(graph *g, spry_error *error);

#endif
