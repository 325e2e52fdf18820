/* Parameter-efficient fine-tuning: a model of which only a small part is to be trained, and what
 * becomes of that part afterwards.
 *
 *     spry_adapt_options options = spry_adapt_options_default();
 *     options.method = "lora";
 *     spry_model *adapted = NULL;
 *     spry_adaptation *facts = NULL;
 *     spry_status status = spry_adapt(model, &options, &adapted, &facts, &error);
 *     ... train the tensors that `facts` names ...
 *     status = spry_adapt_save_delta(adapted, "delta.safetensors", &error);
 *     ...
 *     spry_adaptation_destroy(facts);
 *     spry_model_destroy(adapted);       // before `model`, whose memory it shares
 *
 * The adapted model is a standard ONNX model. Its metadata says how it was made, so that all that
 * is asked below can be asked of a file as well. The classifier, the last linear operator, is
 * trained with every method. */
#ifndef SPRY_ADAPT_H
#define SPRY_ADAPT_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/model.h"
#include "spry/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_adapt_options {
    size_t struct_size; /* sizeof(spry_adapt_options): lets the struct grow */
    const char *method; /* name of a method, see spry_adapt_method_at */
    int32_t rank;       /* lora, adapter: inner width, 1 to 4096 */
    double alpha;       /* lora: the update counts alpha / rank times; above 0 */
    int32_t prompts;    /* prompt: tokens per block, 0 to 4096 */
    bool shallow;       /* prompt: before the first block only */
    /* lora: what is adapted. "q", "k", "v", "o" (output projection), "mlp", "linear" (all but the
     * head), "conv" (convolutions without groups), or names of nodes or weights where '*' stands
     * for any characters and '?' for one. NULL: "q" and "v". */
    const char *const *targets;
    int32_t target_count;
    int64_t classes;         /* a new head of so many classes, 2 to 2^20; 0: the head as it is */
    const char *granularity; /* lasnet: sides of mask cells in pixels of the block's map by stage,
                                "4-4-2-1"; the last counts for further stages. NULL: that. */
    double masker_bias; /* lasnet: by how much maskers prefer to keep at first, 0 to 1000; 0: 5,
                           or 10 for blocks with grouped convolutions */
    int32_t block;  /* block-skim: tokens that are kept or dropped together, a multiple of 4 from
                           4 to 256 */
    bool zero_head; /* the new head starts at 0 instead of N(0, 0.01^2) */
    uint64_t seed;  /* of what is drawn */
    const spry_allocator *allocator; /* of the facts; NULL: the system's */
} spry_adapt_options;

/* lora of rank 8 with alpha 16, 10 prompts in every block, the head as it is. */
SPRY_API spry_adapt_options spry_adapt_options_default(void);

typedef struct spry_adapt_method {
    const char *name;
    const char *summary; /* one clause */
} spry_adapt_method;

/* Method `index`; NULL behind the last. */
SPRY_API const spry_adapt_method *spry_adapt_method_at(int32_t index);

/* How a model was adapted. */
typedef struct spry_adaptation spry_adaptation;

/* Adds what the method trains to a copy of `source`, which must outlive *adapted. Nothing is
 * changed in `source`. lora and adapter compute exactly what `source` does until they are trained,
 * unless a new head is asked for; where a batch norm follows an adapted convolution, to rounding.
 *
 * Methods: "lora" (Hu and others, arXiv 2106.09685), "adapter" (one bottleneck after each MLP,
 * Pfeiffer and others, arXiv 2005.00247), "bias" (Zaken and others, arXiv 2106.10199), "prompt"
 * (Jia and others, arXiv 2203.12119), "head", "full"; "lasnet" (Han and others, arXiv
 * 2210.06223): every residual block gets a mask that says where its branch is computed.
 *
 * Fails with SPRY_USAGE (unknown method, a number out of range, a target that nothing matches),
 * SPRY_UNSUPPORTED (the model lacks what the method builds on: the error says what was looked for,
 * and which method fits), SPRY_BAD_INPUT (quantized or adapted already, broken shapes), SPRY_LIMIT
 * (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_adapt(const spry_model *source,
                                              const spry_adapt_options *options,
                                              spry_model **adapted, spry_adaptation **facts,
                                              spry_error *error);

/* The same facts, from the metadata of a model that was adapted, trained, saved, loaded.
 * Fails with SPRY_USAGE (not adapted, or merged), SPRY_BAD_INPUT (the metadata contradict the
 * model), SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_adaptation_of(const spry_model *model,
                                                      spry_adaptation **facts, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_adaptation_destroy(spry_adaptation *facts);

/* Strings live as long as the facts. */
SPRY_API const char *spry_adaptation_method(const spry_adaptation *facts);
/* The hyper-parameters; targets and allocator are the facts' own. */
SPRY_API const spry_adapt_options *spry_adaptation_options(const spry_adaptation *facts);
/* SHA-256 of the tensors of the model that was adapted, in hexadecimal. */
SPRY_API const char *spry_adaptation_base_hash(const spry_adaptation *facts);
/* Initializers that are to be trained, in an order that does not change; returns how many. */
SPRY_API int32_t spry_adaptation_trainable(const spry_adaptation *facts, const char *const **names);
/* Operators that something was added to or that hold trained tensors, by label; how many. */
SPRY_API int32_t spry_adaptation_nodes(const spry_adaptation *facts, const char *const **labels);
/* Parameters: those that are trained, and all floating-point ones of the adapted model. */
SPRY_API void spry_adaptation_counts(const spry_adaptation *facts, int64_t *trainable,
                                     int64_t *total);

/* What a model of the methods lasnet or block-skim learns towards. */
typedef struct spry_adapt_goal {
    size_t struct_size; /* sizeof(spry_adapt_goal): lets the struct grow */
    double target;      /* multiply-accumulates that are left, of those without masks; in (0, 1] */
    /* Above 0, in place of the target: predicted milliseconds per image that are left, of the
     * convolutions and products on `machine`, a target of spry/predict.h. */
    double budget_ms;
    const char *machine; /* "cpu" is this one, once calibrated; read when the objective is made */
    double weight;       /* of being off the target, in the loss */
    double opening;      /* the share of training over which single blocks are let off the target */
    const spry_model *teacher; /* whose scores are learnt as well, such as the base; NULL: none */
    double teacher_weight;     /* of that in the loss */
    double teacher_temperature;
    bool ignore_labels;    /* the teacher's scores alone count */
    double feature_weight; /* of the features that the teacher makes its scores of: the squared
                              distance to them in units of their mean square; 0: left out */
    double descent; /* the share of training over which the target falls from 1 to `target` */
    /* block-skim: learns from the data of spry_span_data, and has no teacher. */
    double harmony; /* what the predictors' losses weigh beside that of the answers, 0 or more */
    double balance; /* what a block with the answer counts, where others count 1; above 0 */
    bool strict_blocks; /* blocks with one token of the answer alone do not count as having it */
} spry_adapt_goal;

/* Half of the work, weight 10, a third of training; the teacher counts half, at temperature 4.
 * block-skim: 0.1 and 20, as published for SQuAD. */
SPRY_API spry_adapt_goal spry_adapt_goal_default(void);

/* The objective for spry_train_options, whose gates are to be SPRY_ADAPT_GATES for lasnet. The
 * goal's teacher must outlive it. Fails with SPRY_USAGE (numbers out of range; not a model of these
 * methods), SPRY_BAD_INPUT, SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_adapt_objective(const spry_model *adapted,
                                                        const spry_adapt_goal *goal,
                                                        spry_train_objective **objective,
                                                        spry_error *error);
/* Names of the comparisons by which masks of lasnet are made. */
#define SPRY_ADAPT_GATES "*mask_choice*"

/* A copy of a model of the method lasnet with more outputs: behind its own, in the order of blocks,
 * the mask of each for the samples that it is run on, f32 [N, 1, height, width] of the block's map,
 * 1 where it was computed. The model must outlive *revealed. Fails with SPRY_USAGE (no masks),
 * SPRY_BAD_INPUT, SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_adapt_reveal(const spry_model *adapted,
                                                     spry_model **revealed, spry_error *error);

/* What the predictor behind a layer of a block-skim model does on a data set. Nothing is dropped
 * while this is measured: when earlier layers drop, what is left is nearly the same. */
typedef struct spry_skim_layer {
    double threshold; /* a chance in [0, 1): blocks below it are dropped; 0: nothing is */
    int64_t answers;  /* blocks with tokens of an answer that may be dropped */
    double recall;    /* share of these that stay; 1 where there are none */
    int64_t blocks;   /* of text that may be dropped */
    double kept;      /* share of these that stay */
} spry_skim_layer;

typedef struct spry_skim_options {
    size_t struct_size; /* sizeof(spry_skim_options): lets the struct grow */
    /* Thresholds are the largest for which, of the blocks with an answer, no more than this share
     * divided by the number of predictors is expected to be lost at each: (lost + 1) / (n + 1) of n
     * blocks seen (conformal risk control). In (0, 1). */
    double miss;
    double threshold; /* the same for all predictors instead, in [0, 1); below 0: choose */
    int threads;
    const spry_progress *progress;
    const spry_allocator *allocator;
} spry_skim_options;

/* 2 % of answers may be lost in all. */
SPRY_API spry_skim_options spry_skim_options_default(void);

/* A copy of a model of the method block-skim with thresholds chosen on the data of spry_span_data,
 * which must be other than what was trained on for the bound to mean something. `layers` has room
 * for `most` and gets what the *count predictors do. `adapted` must outlive *chosen.
 * Fails with SPRY_USAGE (options; another model), SPRY_BAD_INPUT (what a predictor says is no
 * number), as sessions and data sets do. */
SPRY_API SPRY_MUST_USE spry_status spry_adapt_choose_thresholds(
    const spry_model *adapted, spry_dataset *questions, const spry_skim_options *options,
    spry_model **chosen, spry_skim_layer *layers, int32_t most, int32_t *count, spry_error *error);

/* A copy of `adapted` in which LoRA's products are added to the weights that they stand beside: it
 * has the operators of the base model. What other methods train is part of the graph anyway; their
 * models lose their metadata of adaptation only. *is_plain tells whether the graph is that of the
 * base model (false: adapters or prompts stay in it). `adapted` must outlive *merged.
 * Fails as spry_adaptation_of. */
SPRY_API SPRY_MUST_USE spry_status spry_adapt_merge(const spry_model *adapted, spry_model **merged,
                                                    bool *is_plain, spry_error *error);

/* Writes the trained tensors alone as safetensors, replacing `path` atomically; method,
 * hyper-parameters and base hash are in the file's metadata.
 * Fails as spry_adaptation_of, with SPRY_BAD_INPUT (a number that is infinite or none), SPRY_IO. */
SPRY_API SPRY_MUST_USE spry_status spry_adapt_save_delta(const spry_model *adapted,
                                                         const char *path, spry_error *error);

/* Adapts `base` as the file says and puts the file's tensors in place; `base` must outlive
 * *adapted. Nothing is made unless the whole file fits.
 * Fails with SPRY_UNVERIFIED (made for another base), SPRY_BAD_INPUT (not such a file; a tensor is
 * missing, too many, of another shape or type, or holds what is not a finite number), SPRY_IO, and
 * as spry_adapt. */
SPRY_API SPRY_MUST_USE spry_status spry_adapt_apply_delta(const spry_model *base, const char *path,
                                                          spry_model **adapted,
                                                          spry_adaptation **facts,
                                                          spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
