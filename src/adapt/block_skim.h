/* Models of the method block-skim: what is called how inside, and what they learn. */
#ifndef ADAPT_BLOCK_SKIM_H
#define ADAPT_BLOCK_SKIM_H

#include "spry/adapt.h"

#define BLOCK_SKIM_NAME "skim"           /* and the layer's number: nodes, weights of predictors */
#define BLOCK_SKIM_LOGITS "logits"       /* behind that: what a predictor says, [N, K, 2] */
#define BLOCK_SKIM_THRESHOLD "threshold" /* and that, below which blocks are dropped */
#define BLOCK_SKIM_START "skim_keep"     /* [N, K]: blocks that the first layer computes */
#define BLOCK_SKIM_PROTECTED "skim_protected"
#define BLOCK_SKIM_REPORT "kept_blocks" /* the output f32 [N, layers, K] */

enum { BLOCK_SKIM_NAME_SIZE = 64 };

/* "skim3_logits" */
void block_skim_name(char name[BLOCK_SKIM_NAME_SIZE], int32_t layer, const char *suffix);

/* Sets the threshold of a layer of `m`; layers without a predictor are an error. Fails with
 * SPRY_BAD_INPUT (no such tensor), SPRY_LIMIT. */
SPRY_MUST_USE spry_status block_skim_set_threshold(spry_model *m, int32_t layer, double threshold,
                                                   spry_error *error);

/*     loss = (CE of starts + CE of ends) / 2 + harmony * sum over predictors of CE_w
 *
 * CE_w is the mean over blocks of text with weights 1, and `balance` for those with tokens of the
 * answer (arXiv 2112.08560). As spry_adapt_objective. */
SPRY_MUST_USE spry_status block_skim_objective(const spry_model *adapted,
                                               const spry_adapt_goal *goal, int32_t block,
                                               spry_train_objective **made, spry_error *error);

#endif
