/* One step of learning as one plan: a batch goes in, the loss and the gradient come out.
 *
 *     inputs, targets, weights, statistics                              what a run reads
 *        -> [model] -> scores -> [loss] -> loss                         forward
 *                                   gradients <- [backward nodes]       backward
 *
 * Weights are inputs of the graph that lie in a flat array of the program, and the gradient is
 * written to another with the same offsets, so that an optimizer works on arrays and nothing is
 * packed, copied or allocated between steps. Batch norms learn with the statistics of the batch and
 * hand out new running ones. */
#ifndef TRAIN_PROGRAM_H
#define TRAIN_PROGRAM_H

#include "base/threads.h"
#include "spry/session.h"
#include "train/gumbel.h"
#include "train/loss.h"
#include "train/objective.h"
#include "train/parameters.h"

typedef struct program_options {
    loss_options loss;
    const spry_train_rule *rules;
    int32_t rule_count;
    bool freeze_statistics; /* batch norms use their running statistics, as when running */
    double clip;            /* above 0: the gradient is the sum over the examples of their
                                     own, each scaled down to this length (clipped_gradient.h);
                                     otherwise that of the mean loss */
    bool recompute;         /* cheap activations again in the backward pass (recompute.h) */
    const char *gates;      /* names of comparisons that learn (gumbel.h); NULL: none */
    const spry_train_objective *objective; /* what else counts; NULL: nothing */
    spry_session_options session;          /* precision, allocator */
} program_options;

typedef struct program {
    parameters weights;           /* those that the loss depends on */
    parameters statistics;        /* count 0: frozen, or none */
    const char *const *unreached; /* names of weights that no gradient reaches: left as they are */
    int32_t unreached_count;
    float *numbers;                /* [weights.length]: the weights; the caller steps them */
    float *gradients;              /* [weights.length]: written by program_run; padding stays 0 */
    float *running;                /* [statistics.length] */
    float *counts;                 /* [batch], with clip: 1 where an example counts, 0 where it only
                                     fills the batch; ones at first. NULL: without clip */
    float cooling[GUMBEL_COOLING]; /* of gates, set by the caller before a run; 1 at first */
    float settings[OBJECTIVE_SETTINGS]; /* of the objective, set by the caller before a run */
    float watched[OBJECTIVE_WATCHED];   /* of the last run: what the objective tells of */
    float loss;                         /* of the last run: mean over the batch, whatever counts */
    const float *scores;                /* [batch, classes] of the last run */
    int64_t batch;
    int64_t classes; /* scores per example */
    size_t arena_bytes;
    struct program_inside *inside;
} program;

/* Functions of the model are inlined: weights that their bodies use are learnt.
 * Makes the step for inputs (in the order of the model's inputs without a default) and targets of
 * these types; their elements are not read. The model, which must outlive the program, is trained
 * on its first output; a Softmax that ends it is left out, since the loss has one of its own. Fails
 * with SPRY_USAGE (types that do not fit; nothing to train), SPRY_UNSUPPORTED (an operator without
 * gradient lies on the way: node and operator are named), SPRY_BAD_INPUT, SPRY_LIMIT. */
SPRY_MUST_USE spry_status program_create(const spry_model *source, const program_options *options,
                                         const tensor *const *inputs, int32_t input_count,
                                         const tensor *targets, threads *team, program **made,
                                         spry_error *error);
void program_destroy(program *p);

/* One run. `seed` draws what is random inside (dropout); the same seed gives the same bits.
 * Running statistics are not touched: program_keep_statistics does that, once per step.
 * Fails as operators do. */
SPRY_MUST_USE spry_status program_run(program *p, const tensor *const *inputs,
                                      const tensor *targets, uint64_t seed, spry_error *error);

/* Bytes of the first input's batch. */
size_t program_input_bytes(const program *p);

/* Takes the statistics of the last run into the running ones. The variance is that of the
 * population behind the batch: n / (n - 1) times the variance of its n numbers. */
void program_keep_statistics(program *p);

/* A copy of `source` with these weights and running statistics, arrays like those of the program.
 * Shares memory with `source`. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status program_export(const program *p, const spry_model *source,
                                         const float *numbers, const float *running,
                                         spry_model **trained, spry_error *error);

/* Runs as program_run does and looks at every result: the first operator whose result holds what
 * is not a finite number fails with SPRY_BAD_INPUT, its name and the place. */
SPRY_MUST_USE spry_status program_find_odd(program *p, const tensor *const *inputs,
                                           const tensor *targets, uint64_t seed, spry_error *error);

/* The graph that runs, for reports and tests. */
const graph *program_graph(const program *p);

/* As spry_session_profile: time per operator, when session.profile is set. */
int32_t program_profile(const program *p, const spry_profile_row **rows);
void program_profile_reset(program *p);

#endif
