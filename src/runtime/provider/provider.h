/* Providers: fast implementations that take a node over from its operator's reference kernel.
 *
 * create (packs weights, once per plan) -> run (any number of times, allocating nothing) ->
 * destroy. The table in provider.c is searched in order; the first provider that accepts a node
 * executes it. */
#ifndef RUNTIME_PROVIDER_PROVIDER_H
#define RUNTIME_PROVIDER_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/threads.h"
#include "model/graph.h"
#include "ops/op.h"
#include "spry/session.h"

/* What a provider may know about the node when it is asked. */
typedef struct provider_site {
    const graph *g;
    const graph_node *node;
    const spry_session_options *options;
    const spry_allocator *allocator; /* for the state and packed weights */
    threads *team;
    struct plan_cache *cache; /* of packed memory (packed.h); NULL: none */
} provider_site;

/* What a provider that skips zeros says about its last run. */
typedef struct provider_sparsity {
    double weights;     /* share that is not zero */
    double activations; /* the same, from a sample; negative: not looked at */
    double gain;        /* foretold time of the best dense way / foretold time of the way taken */
    const char *way;    /* taken: a constant string; NULL: as provider_step.plan */
} provider_sparsity;

/* What a provider that runs several layers says about the images between them. */
typedef struct provider_traffic {
    int64_t images;    /* bytes of them all */
    int64_t windows;   /* bytes of the rows that a worker holds at one time */
    double redundancy; /* multiplications done / those of one thread: seams are made twice */
    /* Of the last run: bytes written to windows, and elsewhere in memory. */
    int64_t inside, outside;
} provider_traffic;

/* What `create` gives back. */
typedef struct provider_step {
    void *state;
    size_t workspace_bytes; /* wanted during run, from the plan's arena */
    size_t packed_bytes;    /* of weights held by the state, for reports */
    unsigned spent;     /* bit i: the constant at input i is not read any more; and where packed.h
                               is used, only by what it calls */
    const char *kernel; /* name of the kernel chosen: a constant string */
    /* For reports; zero where the provider does not say. */
    const char *plan;        /* the way chosen among several, e.g. "winograd": a constant string */
    int threads;             /* that have work */
    double predicted_cycles; /* from start to end, as the provider's model foretells */
    const double *density;   /* in the state: share of the results that the last run computed; NULL:
                                all of them */
    const provider_sparsity *sparsity; /* in the state; NULL: zeros are not skipped */
    const provider_traffic *traffic;   /* in the state; NULL: it runs one layer */
    const struct provider *taker; /* executes the node instead, and owns the state; NULL: nobody */
} provider_step;

/* What a provider's nodes may have after them (fuse.h). */
typedef enum provider_fusing {
    PROVIDER_FUSES_NOTHING = 0,
    PROVIDER_FUSES_SUMS = 1 << 0,       /* bias, residual, clamp */
    PROVIDER_FUSES_ACTIVATIONS = 1 << 1 /* FUSE_ACTIVATION too */
} provider_fusing;

typedef struct provider {
    const char *name;
    unsigned fuses; /* provider_fusing */
    /* True when this provider executes the node: static shapes, types and weights as it needs. */
    bool (*accepts)(const provider_site *site);
    spry_status (*create)(const provider_site *site, provider_step *step, spry_error *error);
    /* Runs the node. `workspace` is 64-byte aligned and holds step->workspace_bytes. */
    spry_status (*run)(void *state, op_call *call, void *workspace);
    void (*destroy)(void *state);
} provider;

/* The provider that executes the node, or NULL: its reference kernel. */
const provider *provider_find(const provider_site *site);

/* The static tensor type of input or output `port`, or NULL when omitted or not static. */
const graph_type *provider_input_type(const provider_site *site, int port);
const graph_type *provider_output_type(const provider_site *site, int port);
/* The constant at input `port`, or NULL. */
const tensor *provider_constant(const provider_site *site, int port);

#endif
