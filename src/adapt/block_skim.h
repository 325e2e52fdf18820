/* What models of the method block-skim are called inside. */
#ifndef ADAPT_BLOCK_SKIM_H
#define ADAPT_BLOCK_SKIM_H

#define BLOCK_SKIM_NAME "skim"     /* and the layer's number: nodes, and weights of predictors */
#define BLOCK_SKIM_LOGITS "logits" /* behind that: what a predictor says */
#define BLOCK_SKIM_THRESHOLD "threshold"
#define BLOCK_SKIM_REPORT "kept_blocks" /* the output f32 [N, layers, K] */

#endif
