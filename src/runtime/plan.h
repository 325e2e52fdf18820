/* A plan: one graph made executable for one set of input shapes.
 *
 * Values fall into three kinds: constants (borrowed from the model), planned (static size, placed
 * in one arena by lifetime), and dynamic (allocated by the node that computes them, released after
 * the last use). The bodies of If, Loop and Scan get plans of their own in which everything is
 * dynamic. */
#ifndef RUNTIME_PLAN_H
#define RUNTIME_PLAN_H

#include "base/threads.h"
#include "model/graph.h"
#include "runtime/provider/provider.h"
#include "spry/session.h"
#include "tensor/value.h"

typedef enum plan_place {
    PLAN_DYNAMIC, /* the zero: allocated when computed */
    PLAN_CONSTANT,
    PLAN_ARENA,
    PLAN_CAPTURE, /* lives in the enclosing graph's frame */
    PLAN_INPUT,   /* given by the caller, borrowed for the run */
    PLAN_LENT     /* a result written to memory that the caller lends for good */
} plan_place;

typedef struct plan_value {
    plan_place place;
    size_t offset;     /* PLAN_ARENA */
    int32_t last_step; /* step after which a dynamic value is released; -1: never used */
} plan_value;

typedef struct plan_step {
    const graph_node *node;
    const value **inputs;     /* one per port, into the frame; NULL where omitted */
    value **outputs;          /* one per port, into the frame; NULL where nobody reads it */
    const provider *provider; /* NULL: the operator's reference kernel */
    provider_step provided;
    size_t workspace_offset;
    bool is_alias;        /* OP_VIEW whose planned output is its input: nothing to do */
    const int32_t *dying; /* dynamic values released after this step */
    int32_t dying_count;
    int threads;         /* that loops of this step may have; 0: all */
    int32_t profile_row; /* row of the session's profile, or -1 */
} plan_step;

typedef struct plan plan;

struct plan {
    spry_allocator allocator;
    arena memory; /* of the arrays below */
    const graph *g;
    plan_value *values; /* g->value_count */
    plan_step *steps;
    int32_t step_count;
    size_t arena_bytes;
    void *arena; /* PLAN_ARENA values and workspaces */
    size_t packed_bytes;
    struct plan_cache *cache; /* holds packed weights of an earlier process; or NULL */
    value *frame;             /* run-time values of this plan, reused by every run */
    plan **bodies;            /* plans of subgraphs, found by graph */
    int32_t body_count;
};

/* Plans `g`, which must be sorted, have its operators resolved and (unless `is_body`) its types
 * inferred, and must outlive the plan. Fails with SPRY_LIMIT, and as providers do. */
SPRY_MUST_USE spry_status plan_create(const graph *g, const spry_session_options *options,
                                      threads *team, bool is_body, plan **made, spry_error *error);
void plan_destroy(plan *p);

/* From now on every run writes output `index` of the graph to `memory`, which is large enough and
 * outlives the plan; execute_plan then does not hand that output out. Each output once.
 * Fails with SPRY_UNSUPPORTED (its type is not static, or no node of the graph computes it). */
SPRY_MUST_USE spry_status plan_lend(plan *p, int32_t index, void *memory, spry_error *error);

/* The plan of a body of one of its nodes, or NULL. */
plan *plan_find_body(const plan *p, const graph *g);

#endif
