/* How to train, as the command line says it: shared by all commands that train. */
#ifndef CLI_TRAIN_OPTIONS_H
#define CLI_TRAIN_OPTIONS_H

#include "base/arena.h"
#include "cli/command.h"
#include "cli/subject.h"
#include "spry/train.h"

/* The options, as the `shared` table of a command. */
extern const cli_option train_option_table[];

typedef struct train_setup {
    const cli_call *call;
    spry_train_options options;
    spry_preprocess recipe;
    arena memory; /* rules, words of the configuration */
} train_setup;

/* Fills setup->options from the call and opens the data. `call` must outlive the setup. Fails with
 * SPRY_USAGE, and as data sets and recipes do. */
SPRY_MUST_USE spry_status train_setup_open(train_setup *setup, const cli_call *call,
                                           spry_error *error);
void train_setup_close(train_setup *setup);

#endif
