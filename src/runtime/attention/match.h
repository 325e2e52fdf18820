/* Finding attention in a graph: what attention.c rewrites. */
#ifndef RUNTIME_ATTENTION_MATCH_H
#define RUNTIME_ATTENTION_MATCH_H

#include "runtime/attention/attention.h"
#include "runtime/view.h"

enum { ATTENTION_MOST_ABSORBED = 24 };

/* What was found: operands as views with the axes [leading..., tokens, elements], and what it
 * takes to replace the nodes. */
typedef struct attention_match {
    view q, k, v, out; /* `out` sees the memory of `result` */
    view mask;         /* axes as those of the scores; when there is a kind of mask */
    attention_mask_kind mask_kind;
    float fill;
    double scale;
    float blind;
    bool is_causal;
    int64_t past;
    int32_t policy;                            /* HeadPolicy among them; GRAPH_NONE: none */
    int32_t filter;                            /* KeyFilter among them; GRAPH_NONE: none */
    int32_t node;                              /* becomes the attention */
    int32_t result;                            /* value that it computes */
    int32_t absorbed[ATTENTION_MOST_ABSORBED]; /* nodes that go */
    int absorbed_count;
} attention_match;

/* The attention around a Softmax. */
bool attention_match_softmax(const graph *g, const graph_uses *uses, int32_t node,
                             attention_match *m);

/* The operator Attention, when it keeps no caches and shows no scores. */
bool attention_match_operator(const graph *g, const graph_uses *uses, int32_t node,
                              attention_match *m);

/* The strides that all operands agree on. False when some cannot be said in strides. */
bool attention_settle(const attention_match *m, attention_form *form);

/* Is that a KeyFilter (ops/key_filter.h) whose thresholds are known? And of these very scores? */
bool attention_is_filter(const graph *g, const graph_node *n);
bool attention_filters(const graph *g, const graph_node *scores, const attention_match *m);

/* Can the kernels of filtering do what the filter of the match says of this problem? True without
 * one. */
bool attention_takes_filter(const graph *g, const attention_match *m, const attention_form *form);

#endif
