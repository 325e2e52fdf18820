/* SkimLayer and SkimDecide of the domain ai.spry: a layer of a BERT encoder that computes only the
 * blocks of tokens that are kept, and the same with a predictor that decides which blocks later
 * layers keep (Block-Skim, arXiv 2112.08560). Files define them as functions of standard operators
 * that mask instead (model/skim_function.h), so that every runtime gives the same numbers.
 *
 *     y = SkimLayer(x, bias, keep, weights...)
 *     y, next, logits = SkimDecide(x, bias, keep, weights..., protected, threshold, predictor...)
 *
 *     x, y       f32 [N, T, h]  rows of blocks that are not kept: zeros in y
 *     bias       f32 [N or 1, 1, 1, T], added to the scores: the attention mask
 *     keep       f32 [N, K]     1 where a block of `block` tokens is computed, 0 elsewhere;
 *                               K = ceil(T / block)
 *     protected  f32 [N, K]     1: is kept if it was
 *     logits     f32 [N, K, 2]  of dropping and keeping; of dropped blocks unspecified but finite
 *     next       f32 [N, K]     keep where protected, or the odds logits[1] - logits[0] are at
 *                               least those of the threshold, a chance in [0, 1), or the best of
 *                               blocks that are kept and not protected */
#ifndef OPS_SKIM_H
#define OPS_SKIM_H

#include "model/graph.h"

#define SKIM_DOMAIN "ai.spry"
#define SKIM_LAYER "SkimLayer"
#define SKIM_DECIDE "SkimDecide"
#define SKIM_HEADS "heads"     /* int: of attention */
#define SKIM_BLOCK "block"     /* int: tokens, a multiple of 4 */
#define SKIM_EPSILON "epsilon" /* float: of the layer norms */
#define SKIM_SCALE "scale"     /* float: of the scores */
/* What is said where a decision cannot be made. */
#define SKIM_ODD "what decides about blocks is not a number: so is something in the layer's input"

enum { SKIM_ATTRIBUTES = 4, SKIM_MOST_BLOCK = 256, SKIM_MOST_HEADS = 256 };

/* Inputs. Weights of products are [inputs, outputs]; those of convolutions [heads, heads, 3, 3];
 * of the last product [2, heads * block^2 / 16]. */
enum skim_port {
    SKIM_X,
    SKIM_BIAS,
    SKIM_KEEP,
    SKIM_Q, /* weights, then the bias of each */
    SKIM_K = SKIM_Q + 2,
    SKIM_V = SKIM_K + 2,
    SKIM_OUT = SKIM_V + 2,
    SKIM_NORM1 = SKIM_OUT + 2, /* factors, then offsets */
    SKIM_UP = SKIM_NORM1 + 2,
    SKIM_DOWN = SKIM_UP + 2,
    SKIM_NORM2 = SKIM_DOWN + 2,
    SKIM_LAYER_PORTS = SKIM_NORM2 + 2,
    SKIM_PROTECTED = SKIM_LAYER_PORTS,
    SKIM_THRESHOLD,
    SKIM_CONV1,                   /* weights, bias */
    SKIM_BATCH1 = SKIM_CONV1 + 2, /* factors, offsets, mean, variance */
    SKIM_CONV2 = SKIM_BATCH1 + 4,
    SKIM_BATCH2 = SKIM_CONV2 + 2,
    SKIM_LAST = SKIM_BATCH2 + 4, /* weights, bias */
    SKIM_PORTS = SKIM_LAST + 2
};

/* Outputs. */
enum skim_result { SKIM_Y, SKIM_NEXT, SKIM_LOGITS, SKIM_RESULTS };

/* What a call says by its attributes and by the static types of its inputs. */
typedef struct skim_form {
    bool decides; /* SkimDecide */
    int64_t batch, tokens, hidden, heads, inner;
    int64_t block, blocks; /* tokens of a block; blocks of a sequence */
    int64_t bias_batch;    /* floats from one sequence's bias to the next; 0: one for all */
    float epsilon, scale;
} skim_form;

/* Reads it; false unless the types of all inputs are static, in f32 and fit together. */
bool skim_read(const graph_node *n, const graph_type *const *inputs, int32_t input_count,
               skim_form *form);

/* What the layer costs where `rows` tokens in sequences of `keys` are kept. */
int64_t skim_layer_macs(const skim_form *form, int64_t rows, int64_t keys);
/* What the predictor costs per block. */
int64_t skim_predictor_macs(const skim_form *form);

/* The decision: the next `keep` [blocks] of one sequence. False where a logit is no number. */
bool skim_decide(int64_t blocks, const float *keep, const float *protect, float threshold,
                 const float *logits, float *next);

#endif
