/* A method: what it adds to the graph and which tensors it leaves to training. */
#ifndef ADAPT_METHOD_H
#define ADAPT_METHOD_H

#include "adapt/rewrite.h"

typedef struct adapt_method {
    spry_adapt_method facts;
    /* Rewrites job->g and fills the job's lists. The head is trained anyway, after this. Fails with
     * SPRY_UNSUPPORTED (the model lacks what is built on), SPRY_USAGE, SPRY_LIMIT. NULL: nothing
     * but the head. */
    spry_status (*apply)(rewrite *job, spry_error *error);
    bool needs_no_head; /* does without a classifier */
    bool folds_norms;   /* batch norms are multiplied into the convolutions before, beforehand */
} adapt_method;

extern const adapt_method adapt_method_lora;
extern const adapt_method adapt_method_adapter;
extern const adapt_method adapt_method_bias;
extern const adapt_method adapt_method_prompt;
extern const adapt_method adapt_method_head;
extern const adapt_method adapt_method_full;
extern const adapt_method adapt_method_lasnet;
extern const adapt_method adapt_method_block_skim;

/* By name, or NULL. */
const adapt_method *adapt_method_find(const char *name);

/* All of it: a new head, the method of job->options, the head, and rewrite_finish (adapt.c). Fails
 * as these do. */
SPRY_MUST_USE spry_status adapt_method_run(rewrite *job, spry_error *error);

/* "4-4-2-1": at most 64 numbers from 1 to 4096. False where it is no such list. */
bool lasnet_read_granularity(const char *text, int64_t *sides, int *count);

/* A new head where options.classes asks for one, before the method is applied. Fails with
 * SPRY_UNSUPPORTED (no head found), SPRY_LIMIT. */
SPRY_MUST_USE spry_status head_renew(rewrite *job, spry_error *error);
/* Puts the head's weights and bias at the end of what is trained. Fails as above. */
SPRY_MUST_USE spry_status head_train(rewrite *job, spry_error *error);

#endif
