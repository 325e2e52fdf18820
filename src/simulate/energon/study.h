/* Attention of a real run on Energon's co-processor, and on two machines like those that it was
 * compared with: what each looks at follows from the queries and keys that the model had, and each
 * computes its own results.
 *
 * A3 (HPCA 2020) searches greedily among columns of keys sorted beforehand, and has all keys and
 * values on the chip. SpAtten (HPCA 2021) drops tokens for good by the weight that they had so far,
 * reads 8 bits of a key and 4 more where a query's weights are flat, and half of the values. Both
 * are written from what their papers are known for, with as many multipliers and the memory of the
 * machine given: they are like those designs, not those designs. */
#ifndef SIMULATE_ENERGON_STUDY_H
#define SIMULATE_ENERGON_STUDY_H

#include "runtime/attention/probe.h"
#include "simulate/energon/coprocessor.h"
#include "spry/feed.h"

typedef enum energon_way {
    ENERGON_OWN,
    ENERGON_DENSE,
    ENERGON_A3,
    ENERGON_SPATTEN,
    ENERGON_WAYS
} energon_way;

typedef struct energon_study_options {
    const energon_machine *machine;
    filter_rule rule;      /* of models that do not filter themselves */
    double a3_rounds;      /* of the search, per key: 0.5 is the careful setting of its paper */
    double a3_threshold;   /* keys below this share of the largest weight are left out */
    double spatten_tokens; /* share of tokens that is left in the last layer */
    double spatten_values; /* share of values that is read */
} energon_study_options;

energon_study_options energon_study_options_default(const energon_machine *machine);

/* What was lost. */
typedef struct energon_quality {
    double mass;   /* of softmax, on what was kept, summed over queries */
    double cosine; /* of results with dense ones, summed over queries */
    uint64_t queries;
} energon_quality;

typedef struct energon_study {
    energon_study_options options;
    energon_trace trace;
    energon_cost costs[ENERGON_WAYS];
    energon_quality quality[ENERGON_WAYS];
    int32_t layers;
    bool has_rivals; /* all but ENERGON_OWN and ENERGON_DENSE are only known where queries are */
    /* While it runs. */
    energon_pipeline pipelines[ENERGON_WAYS];
    uint64_t begun[ENERGON_WAYS][ENERGON_FIFO_MOST];
    float *importance; /* of tokens, SpAtten's */
    uint8_t *alive;
    int64_t tokens;
    int32_t layer_count; /* that the first run has seen */
    spry_status status;
    spry_error error;
} energon_study;

/* Runs the model twice on what `feed` holds: to count attentions, and to study them. Undo with
 * energon_study_fini, also after a failure. Fails with SPRY_UNSUPPORTED (no attention was
 * recognised, or one has values of another size than keys), and as sessions do. */
SPRY_MUST_USE spry_status energon_study_run(energon_study *s, const energon_study_options *options,
                                            const spry_model *m, spry_feed *feed,
                                            const spry_session_options *session, spry_error *error);
void energon_study_fini(energon_study *s);

/* ---- one head (rivals.c) ---- */

/* A head's operands, made contiguous. */
typedef struct energon_operands {
    int64_t queries, keys, size;
    float scale;
    const float *q, *k, *v;
    const uint8_t *visible; /* [queries][keys] */
    const float *weights;   /* [queries][keys]: of dense attention; hidden keys have 0 */
    const float *dense;     /* [queries][size]: results */
    bool is_new;            /* keys and values are not those of the head before */
} energon_operands;

/* The cosine of two results; 1 where both are zero. */
double energon_cosine(const float *a, const float *b, int64_t n);
/* Fail with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status energon_a3_head(energon_study *s, const energon_operands *o,
                                          spry_error *error);
SPRY_MUST_USE spry_status energon_spatten_head(energon_study *s, const energon_operands *o,
                                               spry_error *error);
/* Behind all heads of a layer: tokens that had least weight go. */
void energon_spatten_prune(energon_study *s);

#endif
