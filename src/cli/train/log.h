/* A line of JSON for every step and epoch of training, for other programs to follow. */
#ifndef CLI_TRAIN_LOG_H
#define CLI_TRAIN_LOG_H

#include <stdio.h>

#include "base/text.h"
#include "spry/train.h"

typedef struct train_log {
    FILE *to; /* NULL: nothing is written */
    const char *path;
} train_log;

/* Opens `path` (NULL: no log) for appending, so that a resumed run continues its log.
 * Fails with SPRY_IO. */
SPRY_MUST_USE spry_status train_log_open(train_log *log, const char *path, spry_error *error);
void train_log_step(train_log *log, const spry_train_step *step);
void train_log_epoch(train_log *log, const spry_train_epoch *epoch);
/* Returns `status` where that is a failure; else fails with SPRY_IO when something could not be
 * written. */
SPRY_MUST_USE spry_status train_log_close(train_log *log, spry_status status, spry_error *error);

#endif
