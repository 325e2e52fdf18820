/* One adaptation under way: the graph that becomes the file, and a copy to look at. */
#ifndef ADAPT_REWRITE_H
#define ADAPT_REWRITE_H

#include "adapt/structure.h"
#include "base/arena.h"
#include "model/model.h"
#include "spry/adapt.h"

/* A product of LoRA beside a linear operator: columns [first, first + count) of its output get
 * `scale` x a b. */
typedef struct adapt_site {
    const char *sum; /* value in which both are added */
    const char *a, *b;
    int64_t first, count;
    double scale;
} adapt_site;

typedef struct rewrite {
    spry_adapt_options options;
    model *m; /* a copy of the source */
    graph *g; /* its main graph: rewritten */
    /* A copy with a batch of one, all shapes known and constants folded; as before rewriting.
     * Values have the ids that they have in `g`, and no node is merged with another. */
    graph *s;
    graph_uses uses;      /* of s */
    graph_uses file_uses; /* of g, before rewriting */
    arena memory;         /* of s and of what lives as long as the job */
    int32_t opset;        /* of g */
    structure found;
    /* What was decided, in order. */
    int32_t *trainable; /* values of g */
    int32_t trainable_count;
    size_t trainable_capacity;
    const char **labels;
    int32_t label_count;
    size_t label_capacity;
    adapt_site *sites;
    int32_t site_count;
    size_t site_capacity;
    uint64_t drawn; /* streams of random numbers used */
} rewrite;

/* Copies `source`, which stays as it is, and looks for its structure; options may be NULL. Undo
 * with rewrite_close. Fails with SPRY_BAD_INPUT (broken shapes), SPRY_UNSUPPORTED (calls
 * functions), SPRY_LIMIT. */
SPRY_MUST_USE spry_status rewrite_open(rewrite *job, const spry_model *source,
                                       const spry_adapt_options *options, spry_error *error);
void rewrite_close(rewrite *job);

/* Infers all types of `s`, a copy of the graph of `m` to look at, and folds what is constant. Fails
 * with SPRY_BAD_INPUT (broken shapes), SPRY_LIMIT. */
SPRY_MUST_USE spry_status rewrite_settle(graph *s, const model *m, spry_error *error);

/* A copy of the main graph of `m` to look at, in `memory`: a batch of one, other open sizes chosen,
 * settled. Values keep their ids. Fails as rewrite_settle. */
SPRY_MUST_USE spry_status rewrite_look(const model *m, arena *memory, graph **s, spry_error *error);

/* The node of `g` that computes value `id`, and its index. */
graph_node *rewrite_node(const rewrite *job, int32_t id, int32_t *index);

/* What the value of `g` always is, in the copy or, for values added since, as it was added; NULL
 * when that is not known. */
const tensor *rewrite_known(const rewrite *job, int32_t id);

/* *parameter becomes the initializer that input `port` of the node of `g` that computes `id` reads,
 * through transpositions and reshapes. One that others read too is copied, one in a Constant node
 * becomes an initializer. Fails with SPRY_UNSUPPORTED (it is computed, or an input with a default),
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status rewrite_parameter(rewrite *job, int32_t id, int32_t port,
                                            int32_t *parameter, spry_error *error);

/* Each adds to the job's lists; what is there already is not added again. Fail with SPRY_LIMIT. */
SPRY_MUST_USE spry_status rewrite_train(rewrite *job, int32_t parameter, spry_error *error);
SPRY_MUST_USE spry_status rewrite_mention(rewrite *job, int32_t id, spry_error *error);
SPRY_MUST_USE spry_status rewrite_add_site(rewrite *job, const adapt_site *site, spry_error *error);

/* After rewriting: drops what nothing needs, sorts, infers all types anew. Fails with
 * SPRY_BAD_INPUT (the shapes contradict each other), SPRY_LIMIT. */
SPRY_MUST_USE spry_status rewrite_finish(rewrite *job, spry_error *error);

#endif
