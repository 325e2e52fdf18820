/* A model over all samples of a data set, as it would be run later on. */
#ifndef TRAIN_FORWARD_H
#define TRAIN_FORWARD_H

#include "spry/train.h"

/* Takes the first output for samples [first, first + count) and their classes. */
typedef spry_status (*forward_visit)(void *context, const spry_value *output, const int64_t *labels,
                                     int64_t first, int64_t count, spry_error *error);

/* Runs `data` through `m` in batches of 64, or what the model fixes, or all at once
 * (options.whole), with recipe, threads and progress of `options`; `task` names the work. Ends
 * early where `visit` does not return SPRY_OK, with what it returned. Fails with SPRY_CANCELLED,
 * SPRY_UNSUPPORTED (too many outputs), and as sessions and data sets. */
SPRY_MUST_USE spry_status forward_all(const spry_model *m, spry_dataset *data,
                                      const spry_train_options *options, const char *task,
                                      forward_visit visit, void *context, spry_error *error);

#endif
