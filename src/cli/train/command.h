/* What commands that train do once they have a model: training with a bar, rows and a log, and
 * telling what came of it. */
#ifndef CLI_TRAIN_COMMAND_H
#define CLI_TRAIN_COMMAND_H

#include "cli/train/options.h"

enum { TRAIN_CURVE_POINTS = 512 };

/* A value per step; every `apart`-th is kept. */
typedef struct train_curve {
    double steps[TRAIN_CURVE_POINTS];
    double values[TRAIN_CURVE_POINTS];
    int32_t count;
    int64_t seen, apart;
} train_curve;

typedef struct train_outcome {
    const char *model;  /* path of what was trained */
    const char *output; /* path of what is written; NULL: not said */
    const train_setup *setup;
    spry_model *trained; /* shares memory with the model that it was made from */
    spry_training *facts;
    train_curve rates;
} train_outcome;

/* Runs `perform` for a command that takes the options of training: with what --config adds to the
 * call, and with ^C noted instead of obeyed. Fails as config_read and `perform`. */
SPRY_MUST_USE spry_status train_run(const cli_call *call,
                                    spry_status (*perform)(const cli_call *call, spry_error *error),
                                    spry_error *error);

/* Trains `source`, printing a row for every epoch. ^C ends it early, which is no failure. Undo with
 * train_outcome_close. Fails as spry_train. */
SPRY_MUST_USE spry_status train_perform(const spry_model *source, train_setup *setup,
                                        train_outcome *outcome, spry_error *error);
void train_outcome_close(train_outcome *outcome);

/* Prints what came of it, as text or JSON, and writes the page where --html asks for it. */
SPRY_MUST_USE spry_status train_tell(const train_outcome *outcome, spry_error *error);

#endif
