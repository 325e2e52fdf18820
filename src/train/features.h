/* Features: what a frozen beginning of a model makes of the data, computed once.
 *
 *     source:  samples -> [frozen] -> features -> [trained] -> scores
 *     rest:                           features -> [trained] -> scores
 *
 * A step on the rest costs what the rest costs, so a new head is trained in seconds. */
#ifndef TRAIN_FEATURES_H
#define TRAIN_FEATURES_H

#include "train/parameters.h"

typedef struct features {
    spry_model *rest;       /* NULL: there is nothing to gain; shares memory with the source */
    spry_dataset *rows;     /* the features of options->data, with its classes */
    spry_train_rule *rules; /* that train in the rest what options train in the source */
    int32_t rule_count;
} features;

/* Splits `source` before the first weight that is trained, where only one value crosses there and
 * samples come the same every time: nothing random before it, no augmentation, batch norms with
 * running statistics. Values keep their numbers in `rest`. `memory` holds the rules.
 * Fails with SPRY_CANCELLED (options->progress), and as sessions and data sets do. */
SPRY_MUST_USE spry_status features_open(const spry_model *source, const spry_train_options *options,
                                        arena *memory, features *f, spry_error *error);
void features_close(features *f);

#endif
