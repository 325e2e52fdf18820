/* The inside of spry_train: what a run of training holds, for the files that share it. */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "data/loader.h"
#include "train/checkpoint.h"
#include "train/features.h"
#include "train/inputs.h"
#include "train/optimizer.h"
#include "train/program.h"
#include "train/schedule.h"

enum { TRAINER_STATES = 2 };

/* Neighbouring weights that are stepped alike. */
typedef struct trainer_range {
    int64_t offset, length; /* floats */
    double rate, decay;     /* of the step's own: factors */
} trainer_range;

/* An array that is laid out as the weights, or the statistics, of the program. */
typedef struct trainer_array {
    const char *name; /* before the tensors' names in a checkpoint; "" for the weights themselves */
    checkpoint_part part;
    const parameters *set;
    float *numbers;
} trainer_array;

enum { TRAINER_MOST_ARRAYS = 8 };

struct spry_training {
    spry_allocator allocator;
    spry_training_totals totals;
    spry_train_epoch *epochs;
    int64_t epoch_count;
    size_t epoch_capacity;
    float *losses;
    int64_t loss_count;
    size_t loss_capacity;
};

typedef struct trainer {
    const spry_model *source;
    spry_train_options options; /* with defaults filled in */
    spry_preprocess recipe;
    augment steps_of_augment;
    spry_allocator allocator;
    arena memory;
    threads *team;
    features known;           /* what a frozen beginning makes of the data */
    const spry_model *learnt; /* the source, or the rest behind the features */
    input_arrays parts;
    loader *batches;              /* of the first input, and the labels */
    loader *further[INPUTS_MOST]; /* of the others; [0] is not used */
    const loader_batch *held[INPUTS_MOST];
    const uint8_t *mask;  /* options.mask */
    int64_t *mask_labels; /* [batch]: those that count, else -1; NULL: without mask */
    program *p;
    optimizer rule;
    schedule rates;
    schedule cooling; /* of gates */
    schedule noise;   /* the same */
    trainer_range *ranges;
    int32_t range_count;
    float *state[TRAINER_STATES];              /* of the optimizer; NULL where it has none */
    float *sum;                                /* of gradients; NULL: one batch makes a step */
    float *average;                            /* NULL: none */
    float *best, *best_running;                /* NULL: none */
    trainer_array arrays[TRAINER_MOST_ARRAYS]; /* all that a checkpoint holds */
    int32_t array_count;
    struct trainer_private *secret; /* NULL: trained without privacy */
    int64_t epoch_steps;
    int64_t step, steps; /* finished; in all */
    int64_t saved_step;  /* of the newest checkpoint; -1: none */
    /* of the present epoch, and since the start */
    double epoch_loss;
    int64_t epoch_right, epoch_seen;
    double epoch_watched[OBJECTIVE_WATCHED];
    double epoch_told; /* steps in those sums */
    int64_t started_ns, epoch_started_ns;
    int64_t samples;
    spry_training *facts;
} trainer;

/* Reads the options and makes everything ready for step 0. Fails as spry_train. */
SPRY_MUST_USE spry_status trainer_open(trainer *t, const spry_model *source,
                                       const spry_train_options *options, spry_error *error);
void trainer_close(trainer *t);

/* Writes a checkpoint of the present step; `is_best` says that validation was never better.
 * Nothing happens where none are wanted, or this step has one. */
SPRY_MUST_USE spry_status trainer_save(trainer *t, bool is_best, spry_error *error);
/* Takes everything from the newest checkpoint, where there is one and options.resume asks. */
SPRY_MUST_USE spry_status trainer_resume(trainer *t, spry_error *error);

/* Training with privacy (trainer_private.c). Makes what it needs, where options ask for it; the
 * steps must be known. */
SPRY_MUST_USE spry_status trainer_private_open(trainer *t, spry_error *error);
/* The gradient of one step, clipped per sample, summed over the batch, with noise, divided by the
 * size that batches have on average; scaled down to `limit` where `norm` was longer. */
SPRY_MUST_USE spry_status trainer_private_gradient(trainer *t, double limit, double *loss,
                                                   double *norm, float **gradient,
                                                   spry_error *error);
/* What `steps` have spent. */
double trainer_private_epsilon(const trainer *t, int64_t steps);

/* Is training private? Samples are then drawn one by one. */
static inline bool trainer_is_private(const spry_train_options *o)
{
    return o->private_epsilon > 0 || o->private_noise > 0;
}

/* Seed of what is random inside the model for batch `number`. */
uint64_t trainer_seed(const trainer *t, int64_t number);
/* The loss or its gradient is not finite: names the operator. Always fails. */
spry_status trainer_explain_odd(trainer *t, const tensor *const *inputs, const tensor *targets,
                                int64_t number, spry_error *error);
/* sum = (sum, or 0 at the first, + addend) factor, element by element. */
void trainer_add(trainer *t, float *sum, const float *addend, float factor, bool is_first);

/* Tells the observer. */
void trainer_note(const trainer *t, const char *format, ...) SPRY_PRINTF(2, 3);

/* Adds to the facts. Fail with SPRY_LIMIT. */
SPRY_MUST_USE spry_status training_add_loss(spry_training *facts, float loss, spry_error *error);
SPRY_MUST_USE spry_status training_add_epoch(spry_training *facts, const spry_train_epoch *epoch,
                                             spry_error *error);

#endif
