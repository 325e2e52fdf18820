/* Training: fitting a model's weights to labelled data, by gradient descent.
 *
 *     spry_train_options options = spry_train_options_default();
 *     options.data = data;
 *     options.epochs = 10;
 *     spry_model *trained = NULL;
 *     spry_training *facts = NULL;
 *     spry_status status = spry_train(model, &options, &trained, &facts, &error);
 *     status = spry_model_save(trained, "trained.onnx", &error);
 *     ...
 *     spry_training_destroy(facts);
 *     spry_model_destroy(trained);       // before `model`, whose memory it shares
 *
 * The result is the same graph with other numbers. The same options give the same bits on the same
 * processor, with any number of threads, interrupted and resumed or not. */
#ifndef SPRY_TRAIN_H
#define SPRY_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/dataset.h"
#include "spry/model.h"
#include "spry/preprocess.h"
#include "spry/progress.h"
#include "spry/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spry_optimizer {
    SPRY_OPTIMIZER_SGD = 0, /* momentum, optionally Nesterov's */
    SPRY_OPTIMIZER_ADAM = 1,
    SPRY_OPTIMIZER_ADAMW = 2 /* decay apart from the gradient (arXiv 1711.05101) */
} spry_optimizer;

/* How the learning rate moves over the steps. */
typedef enum spry_schedule {
    SPRY_SCHEDULE_CONSTANT = 0,
    SPRY_SCHEDULE_COSINE = 1,
    SPRY_SCHEDULE_LINEAR = 2,
    SPRY_SCHEDULE_STEPS = 3,       /* times gamma at each milestone */
    SPRY_SCHEDULE_EXPONENTIAL = 4, /* times gamma every epoch, smoothly */
    SPRY_SCHEDULE_ONE_CYCLE = 5    /* arXiv 1708.07120 */
} spry_schedule;

/* What differs from the defaults for weights whose name fits a pattern ('*' stands for any
 * characters, '?' for one). Of several rules that fit, the last that says something decides. */
typedef struct spry_train_rule {
    const char *pattern;
    bool is_frozen;
    double rate;  /* times the learning rate; negative: not said */
    double decay; /* times the weight decay; negative: not said. Without a rule biases, norms and
                     positions do not decay. */
} spry_train_rule;

/* After every step. */
typedef struct spry_train_step {
    int64_t step, steps; /* finished; in all */
    int64_t epoch;       /* from 0 */
    double loss;
    double rate;
    double norm;    /* of the gradient, before clipping */
    double seconds; /* since the start */
} spry_train_step;

enum { SPRY_TRAIN_WATCHED = 8 };

/* After every epoch. */
typedef struct spry_train_epoch {
    int64_t epoch, epochs; /* finished; in all */
    int64_t step;
    double loss;            /* mean over the epoch's steps */
    double accuracy;        /* of the batches as they were learnt; fraction */
    double validation;      /* top-1; negative: not measured */
    double validation_loss; /* negative: not measured */
    double rate;
    double seconds; /* that it took */
    /* What the objective tells of: means over the epoch's steps, with names. */
    int32_t watched_count;
    const char *watched_names[SPRY_TRAIN_WATCHED];
    double watched[SPRY_TRAIN_WATCHED];
} spry_train_epoch;

/* NULL callbacks are left out. Called from the thread that trains. */
typedef struct spry_train_observer {
    void (*step)(void *context, const spry_train_step *step);
    void (*epoch)(void *context, const spry_train_epoch *epoch);
    void (*note)(void *context, const char *text); /* what the user should know: one sentence */
    void *context;
} spry_train_observer;

/* What a method adds to the loss of labels, and to the schedule: spry_adapt_objective. */
typedef struct spry_train_objective spry_train_objective;
/* NULL is allowed. */
SPRY_API void spry_train_objective_destroy(spry_train_objective *objective);

typedef struct spry_train_options {
    size_t struct_size; /* sizeof(spry_train_options): lets the struct grow */

    spry_dataset *data;            /* samples with a class each, batch first. A model with several
                                      inputs takes npz or safetensors, with an array by the name of
                                      each input */
    spry_dataset *validation;      /* measured after every epoch; NULL: none */
    const spry_preprocess *recipe; /* how samples become inputs; NULL: spry_preprocess_default */
    const char *augment;           /* "crop:4,flip"; NULL: nothing (see the guide) */
    bool balanced;                 /* classes equally often */
    bool strict;                   /* an unreadable sample is an error; else it is left out */

    int64_t batch;      /* samples per step */
    int64_t epochs;     /* passes over the data */
    int64_t steps;      /* instead of epochs, when not 0 */
    int64_t accumulate; /* batches whose gradients make one step; at least 1 */

    spry_optimizer optimizer;
    double rate;         /* the highest learning rate */
    double decay;        /* of weights */
    double momentum;     /* SGD, in [0, 1) */
    bool nesterov;       /* SGD */
    double beta1, beta2; /* Adam, in [0, 1) */
    double epsilon;      /* Adam */
    spry_schedule schedule;
    int64_t warm_up;          /* steps of rising rate at the start */
    double least;             /* the rate that cosine, linear and one cycle end with */
    double gamma;             /* STEPS, EXPONENTIAL */
    const double *milestones; /* STEPS: ascending fractions of all steps */
    int32_t milestone_count;
    double clip;      /* longest gradient; 0: any */
    double average;   /* the result is a moving average of the weights that keeps so much each
                               step; 0: the weights themselves */
    double smoothing; /* of the targets, in [0, 1) */

    /* Privacy of single samples (arXiv 1607.00133): each sample's gradient is clipped and noise is
     * added, so that an onlooker of the weights learns little of any one sample. Batches are then
     * drawn sample by sample, each with probability batch / samples. */
    double private_epsilon; /* what may be spent over all steps; 0: no privacy, or private_noise */
    double private_delta;   /* in (0, 1), well below 1 / samples */
    double private_clip;    /* longest gradient of a sample */
    double private_noise;   /* in units of private_clip, instead of private_epsilon; 0: from that */
    bool private_seeded;    /* noise from `seed`: for tests, protects nothing */

    const spry_train_rule *rules;
    int32_t rule_count;
    bool freeze_statistics; /* batch norms use their running statistics and leave them */

    uint64_t seed;
    int threads;              /* 0: as many as the process may use */
    spry_precision precision; /* F32, or BF16: products in bf16, weights and sums in f32 */

    const char *checkpoints;  /* folder; NULL: none are written */
    int64_t checkpoint_steps; /* between two, besides one after every epoch; 0: epochs only */
    int32_t checkpoint_last;  /* how many are kept; 0: all */
    bool resume;              /* go on from the newest checkpoint in the folder */
    bool keep_best;           /* the result is the epoch of best validation, not the last */

    const spry_train_objective
        *objective; /* besides, or instead of, the labels; NULL: these alone */

    const spry_train_observer *observer;
    const spry_progress *progress; /* stopping it ends training early with what was learnt */
    const spry_allocator *allocator;

    /* Gates of 0 and 1 that learn: GreaterOrEqual nodes whose name fits this pattern and whose
     * result is cast to floating point. While they learn they are drawn, 1 with the chance
     * sigmoid(a - b), and their gradient is that of a soft gate at a temperature (arXiv
     * 1611.01144); the trained model compares as before. NULL: none. */
    const char *gates;
    double temperature, temperature_end; /* at the first and behind the last step; above 0 */
    spry_schedule temperature_schedule;  /* CONSTANT, EXPONENTIAL, LINEAR or COSINE between both */

    double gate_noise, gate_noise_end; /* how much chance counts in gates, at the first and behind
                                          the last step, on a line between both: 1 as above, 0
                                          decides as the trained model does */

    bool recompute; /* cheap activations are computed again when gradients need them: less memory,
                       more time, the same bits */

    bool whole;       /* all samples in their order are the batch, for models that relate samples to
                         each other, such as graph networks */
    const char *mask; /* with whole: only samples where this array of the data (npz, safetensors) is
                         not 0 count; NULL: all */
    const char *validation_mask; /* the same in the validation data */
} spry_train_options;

/* 10 epochs of batches of 64, SGD with momentum 0.9 at rate 0.05 and decay 5e-4, cosine. */
SPRY_API spry_train_options spry_train_options_default(void);

typedef struct spry_training spry_training;

/* The whole of it. */
typedef struct spry_training_totals {
    int64_t steps;      /* finished, those before resuming included */
    int64_t trained;    /* parameters that were trained */
    int64_t parameters; /* that could be */
    double loss;        /* mean of the last epoch, or of its part */
    double best;        /* validation top-1 of the best epoch; negative: not measured */
    int64_t best_epoch;
    double seconds;
    double samples_per_second;
    size_t arena_bytes;  /* activations and gradients of one step */
    size_t weight_bytes; /* weights, gradients, state of the optimizer */
    double epsilon;      /* spent at options.private_delta; 0: trained without privacy */
    double noise;        /* in units of private_clip */
    int64_t skipped;     /* samples that could not be read */
    bool is_stopped;     /* asked to by progress */
} spry_training_totals;

/* Trains a copy of `source`, which must outlive *trained.
 * Fails with SPRY_USAGE (options; labels outside of the model's classes; nothing to train),
 * SPRY_UNSUPPORTED (an operator without gradient lies on the way: it is named), SPRY_BAD_INPUT (the
 * loss is not finite any more: the operator that it came from is named; a checkpoint does not
 * fit), SPRY_IO (checkpoints, data), SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_train(const spry_model *source,
                                              const spry_train_options *options,
                                              spry_model **trained, spry_training **facts,
                                              spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_training_destroy(spry_training *facts);

SPRY_API const spry_training_totals *spry_training_totals_of(const spry_training *facts);
/* Both return how many there are. Losses: of every step of this run. */
SPRY_API int64_t spry_training_epochs(const spry_training *facts, const spry_train_epoch **epochs);
SPRY_API int64_t spry_training_losses(const spry_training *facts, const float **losses);

#ifdef __cplusplus
}
#endif

#endif
