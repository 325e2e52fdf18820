/* How well a model does on samples that it does not learn from. */
#ifndef TRAIN_VALIDATE_H
#define TRAIN_VALIDATE_H

#include "spry/train.h"

typedef struct validation {
    double accuracy; /* fraction whose class has the largest score, the first of equals */
    double loss;     /* mean cross entropy of the first output taken as logits */
} validation;

/* The class with the largest score, the first of equals. */
int64_t validate_best(const float *scores, int64_t classes);

/* -log softmax of the class; adds 1 to *right where it has the largest score, the first of
 * equals. */
double validate_row(const float *scores, int64_t classes, int64_t label, int64_t *right);

/* Runs all of options->validation through `m` as it would be run later on: `classes` scores each.
 * Fails with SPRY_CANCELLED (options->progress), and as sessions and data sets do. */
SPRY_MUST_USE spry_status validate(const spry_model *m, const spry_train_options *options,
                                   int64_t classes, validation *result, spry_error *error);

#endif
