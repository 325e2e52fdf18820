/* Pruning: weights that become zero, in patterns that cost little accuracy or that run faster.
 *
 *     spry_sparsify_options options = spry_sparsify_options_default();
 *     options.method = "panel";
 *     options.ratio = 0.7;
 *     spry_model *pruned = NULL;
 *     spry_status status = spry_sparsify(model, &options, &pruned, &error);
 *     status = spry_model_save(pruned, "pruned.onnx", &error);
 *     ...
 *     spry_model_destroy(pruned);        // before `model`, whose memory it shares
 *
 * The result is the same model with zeros in its weights, standard ONNX; the runtime looks for them
 * and skips them where that is faster. Training lets the other weights make up for what is gone:
 * spry_sparsify_objective prunes while spry_train runs, little by little. */
#ifndef SPRY_SPARSIFY_H
#define SPRY_SPARSIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/model.h"
#include "spry/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_sparsify_method {
    const char *name;
    const char *summary; /* one clause */
} spry_sparsify_method;

/* Method `index`; NULL behind the last. */
SPRY_API const spry_sparsify_method *spry_sparsify_method_at(int32_t index);

/* Zeros of one weight. */
typedef struct spry_sparsify_share {
    const char *name; /* of the initializer */
    double ratio;     /* zeros / all, 0 to below 1 */
} spry_sparsify_share;

typedef struct spry_sparsify_options {
    size_t struct_size; /* sizeof(spry_sparsify_options): lets the struct grow */
    const char *method; /* see spry_sparsify_method_at */
    double ratio;       /* zeros / all numbers in weights of Conv, Gemm and MatMul; 0 to below 1 */
    /* How the zeros are spread: "uniform", the same ratio everywhere; "global", where the least is
     * lost of each layer's sum of squares (LAMP, arXiv 2010.07611). */
    const char *spread;
    int32_t keep, of;           /* n:m: of `of` neighbours `keep` stay, 1 <= keep < of <= 64 */
    bool ends;                  /* the first and the last layer too, which stay dense otherwise */
    const char *const *exclude; /* names of weights or nodes that stay as they are; * and ? stand
                                   for others */
    int32_t exclude_count;
    const spry_sparsify_share *shares; /* in place of ratio and spread, for the weights named */
    int32_t share_count;
    const spry_allocator *allocator; /* NULL: the system's */
} spry_sparsify_options;

/* Half of the numbers by panels, the same ratio everywhere, 2:4. */
SPRY_API spry_sparsify_options spry_sparsify_options_default(void);

/* Prunes a copy of `source`, which must outlive *pruned, at once.
 * Fails with SPRY_USAGE (unknown method or spread, a number out of range, a pattern that nothing
 * matches, a ratio that cannot be reached), SPRY_UNSUPPORTED (no constant f32 weights),
 * SPRY_BAD_INPUT (a weight is not finite: it is named), SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_sparsify(const spry_model *source,
                                                 const spry_sparsify_options *options,
                                                 spry_model **pruned, spry_error *error);

/* Where zeros are to go so that a model becomes so much faster: what each layer's zeros cost, alone
 * and without training, and what they save on this machine, are measured at some levels, and the
 * cheapest choice is made that saves enough, with the zeros of options.ratio at least. */
typedef struct spry_sparsify_aim {
    size_t struct_size; /* sizeof(spry_sparsify_aim): lets the struct grow */
    double speed_up;    /* of one sample, against the dense model; 1 and more */
    spry_dataset *data; /* samples that costs are measured on; labels are not needed; NULL: noise */
    const spry_preprocess *recipe; /* NULL: raw */
    int64_t samples;               /* at most; 0: all */
    int threads;                   /* 0: as many as the process may use */
    const spry_progress *progress;
} spry_sparsify_aim;

/* One and a half times as fast, by 128 samples. */
SPRY_API spry_sparsify_aim spry_sparsify_aim_default(void);

typedef struct spry_sparsify_plan spry_sparsify_plan;

/* Fails with SPRY_USAGE (options; n:m, which leaves no choice), SPRY_NEGATIVE (no choice is
 * foretold to be so fast: the error says how fast the fastest is), and as spry_sparsify and
 * sessions do. */
SPRY_API SPRY_MUST_USE spry_status spry_sparsify_search(const spry_model *source,
                                                        const spry_sparsify_options *options,
                                                        const spry_sparsify_aim *aim,
                                                        spry_sparsify_plan **plan,
                                                        spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_sparsify_plan_destroy(spry_sparsify_plan *plan);
/* For options.shares: live as long as the plan. Returns how many. */
SPRY_API int32_t spry_sparsify_plan_shares(const spry_sparsify_plan *plan,
                                           const spry_sparsify_share **shares);
/* Foretold; measured is what is made of it. */
SPRY_API double spry_sparsify_plan_speed_up(const spry_sparsify_plan *plan);

/* How pruning goes along with training. */
typedef struct spry_sparsify_goal {
    size_t struct_size;
    const spry_model *teacher; /* whose scores are learnt, such as the dense model; NULL: none */
    double teacher_weight;     /* of that in the loss */
    double teacher_temperature;
    bool ignore_labels;   /* the teacher's scores alone count */
    double begin, end;    /* shares of training: between both the zeros grow from none to all, by
                             1 - (1 - t)^3 (arXiv 1710.01878); 0 and 0: all from the start */
    int64_t update_steps; /* between two choices of what is zero, at least 1 */
} spry_sparsify_goal;

/* The teacher counts 1, at temperature 4; the zeros grow over the first half, every 10 steps. */
SPRY_API spry_sparsify_goal spry_sparsify_goal_default(void);

/* The objective for spry_train of `source`: zeros are made while it learns, and stay. `source` and
 * the teacher must outlive it. One run of training at a time. Fails as spry_sparsify. */
SPRY_API SPRY_MUST_USE spry_status spry_sparsify_objective(const spry_model *source,
                                                           const spry_sparsify_options *options,
                                                           const spry_sparsify_goal *goal,
                                                           spry_train_objective **objective,
                                                           spry_error *error);

/* Zeros of a model. */
typedef struct spry_sparsity_row {
    const char *name; /* of the weight; with node, lives as long as the sparsity */
    const char *node; /* label of the first operator that reads it */
    int64_t weights, zeros;
    int64_t panels, zero_panels;     /* runs of 16 outputs of one input at one place of the kernel,
                                        as the runtime skips them */
    int64_t filters, zero_filters;   /* outputs */
    int64_t outputs, channels, taps; /* what the weight is: [outputs][channels][taps] */
} spry_sparsity_row;

typedef struct spry_sparsity spry_sparsity;

/* Counts. Fails as spry_sparsify where weights cannot be read. */
SPRY_API SPRY_MUST_USE spry_status spry_sparsity_of(const spry_model *model,
                                                    spry_sparsity **sparsity, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_sparsity_destroy(spry_sparsity *sparsity);
/* In the order of the graph; returns how many. */
SPRY_API int32_t spry_sparsity_rows(const spry_sparsity *sparsity, const spry_sparsity_row **rows);

#ifdef __cplusplus
}
#endif

#endif
