/* Evaluation: how often a classifier is right on labelled data.
 *
 *     spry_evaluate_options options = spry_evaluate_options_default();
 *     spry_evaluation *result = NULL;
 *     spry_status status = spry_evaluate(model, session, data, &options, &result, &error);
 *     const spry_evaluate_totals *totals = spry_evaluation_totals(result);
 *     printf("%.2f %%\n", 100 * totals->top1);
 *     spry_evaluation_destroy(result);
 *
 * Samples stream through the model in batches: memory does not grow with their number, except where
 * the scores are to be kept. */
#ifndef SPRY_EVALUATE_H
#define SPRY_EVALUATE_H

#include <stdbool.h>

#include "spry/dataset.h"
#include "spry/model.h"
#include "spry/progress.h"
#include "spry/session.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What one run has given, for those who want more than scores. */
typedef struct spry_evaluate_batch {
    int64_t first, count;       /* samples [first, first + count) of the data */
    int64_t skip;               /* the first so many were in a batch before */
    const spry_tensor *input;   /* as the model gets it */
    spry_value *const *outputs; /* of the model, all of them */
} spry_evaluate_batch;

typedef struct spry_evaluate_options {
    size_t struct_size;            /* sizeof(spry_evaluate_options): lets the struct grow */
    const spry_preprocess *recipe; /* NULL: spry_preprocess_default */
    int64_t limit;                 /* only the first samples; 0: all */
    int64_t batch;                 /* samples per run; 0: 32, or what the model fixes */
    int64_t class_offset;          /* class c is score c + offset (1: a background class) */
    const char *output;            /* name of the output with the scores; NULL: the first */
    bool keep_scores;              /* for spry_evaluation_scores */
    /* Called after every run; what it returns but SPRY_OK ends the evaluation. NULL: nobody. */
    spry_status (*visit)(void *context, const spry_evaluate_batch *batch, spry_error *error);
    void *visit_context;
    const spry_progress *progress;
    const spry_allocator *allocator;
} spry_evaluate_options;

SPRY_API spry_evaluate_options spry_evaluate_options_default(void);

typedef struct spry_evaluate_totals {
    int64_t count;   /* samples */
    int64_t classes; /* of the data */
    int64_t scores;  /* per sample */
    double top1; /* fraction of samples whose class has the largest score (the first of equals) */
    double top5; /* whose class is among the five largest */
    double seconds;     /* wall clock, with reading and preparing */
    double run_seconds; /* in the model */
    int64_t batch;
} spry_evaluate_totals;

typedef struct spry_evaluate_class {
    int64_t label;
    int64_t count;
    int64_t right;    /* top-1 */
    int64_t mistaken; /* score index given most often when wrong, less the offset; -1: none */
} spry_evaluate_class;

typedef struct spry_evaluation spry_evaluation;

/* Runs the data through `session`, which was made from `model`. The model takes one input, float or
 * integer, [N,C,H,W], [N,H,W,C] or whatever has as many elements as a sample; N may be fixed. An
 * output with n elements per sample counts as n scores.
 * Fails with SPRY_USAGE (several inputs, no such output, labels beyond the scores, fewer samples
 * than a fixed batch), and as spry_dataset_batch and spry_session_run. */
SPRY_API SPRY_MUST_USE spry_status spry_evaluate(const spry_model *model, spry_session *session,
                                                 spry_dataset *data,
                                                 const spry_evaluate_options *options,
                                                 spry_evaluation **result, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_evaluation_destroy(spry_evaluation *evaluation);

SPRY_API const spry_evaluate_totals *spry_evaluation_totals(const spry_evaluation *evaluation);
/* The classes that occurred, the least often recognised first; returns how many. */
SPRY_API int32_t spry_evaluation_classes(const spry_evaluation *evaluation,
                                         const spry_evaluate_class **classes);
/* f32[count, scores], and the label and the predicted class of every sample, i64[count]; NULL
 * unless they were to be kept. */
SPRY_API const spry_tensor *spry_evaluation_scores(const spry_evaluation *evaluation);
SPRY_API const spry_tensor *spry_evaluation_labels(const spry_evaluation *evaluation);
SPRY_API const spry_tensor *spry_evaluation_predictions(const spry_evaluation *evaluation);

#ifdef __cplusplus
}
#endif

#endif
