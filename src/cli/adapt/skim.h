/* Training on questions and choosing thresholds, for models that skip blocks. */
#ifndef CLI_ADAPT_SKIM_H
#define CLI_ADAPT_SKIM_H

#include "base/json.h"
#include "cli/train/options.h"
#include "spry/adapt.h"
#include "spry/answer.h"

/* The options, as part of a command's table. */
#define ADAPT_SKIM_OPTIONS                                                                       \
    {.name = "block",                                                                            \
     .kind = CLI_INTEGER,                                                                        \
     .value = "N",                                                                               \
     .fallback = "32",                                                                           \
     .lowest = 4,                                                                                \
     .highest = 256,                                                                             \
     .help = "block-skim: tokens that are kept or dropped together, a multiple of 4"},           \
        {.name = "vocab",                                                                        \
         .kind = CLI_PATH,                                                                       \
         .value = "FILE",                                                                        \
         .help = "block-skim: vocab.txt or tokenizer.json of the model, to read questions"},     \
        {.name = "window",                                                                       \
         .kind = CLI_INTEGER,                                                                    \
         .value = "N",                                                                           \
         .fallback = "384",                                                                      \
         .lowest = 8,                                                                            \
         .highest = 4096,                                                                        \
         .help = "block-skim: tokens of a sample"},                                              \
        {.name = "stride",                                                                       \
         .kind = CLI_INTEGER,                                                                    \
         .value = "N",                                                                           \
         .fallback = "128",                                                                      \
         .lowest = 1,                                                                            \
         .highest = 4096,                                                                        \
         .help = "block-skim: tokens from one window of a text to the next"},                    \
        {.name = "harmony",                                                                      \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0.1",                                                                      \
         .lowest = 0,                                                                            \
         .highest = 1e6,                                                                         \
         .help = "block-skim: what predictors weigh in the loss, beside 1 for the answers"},     \
        {.name = "balance",                                                                      \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "20",                                                                       \
         .lowest = 1e-6,                                                                         \
         .highest = 1e6,                                                                         \
         .help = "block-skim: what a block with the answer counts, where others count 1"},       \
        {.name = "strict-blocks",                                                                \
         .kind = CLI_FLAG,                                                                       \
         .help = "block-skim: one token of the answer alone does not make a block count"},       \
        {.name = "calibrate",                                                                    \
         .kind = CLI_TEXT,                                                                       \
         .value = "KIND:PATH",                                                                   \
         .help =                                                                                 \
             "samples to choose thresholds on. block-skim: squad:FILE, those of --data when "    \
             "nothing is said. energon: as --data of spry evaluate, or text:FILE with --vocab"}, \
        {.name = "miss",                                                                         \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0.02",                                                                     \
         .lowest = 1e-9,                                                                         \
         .highest = 0.999999,                                                                    \
         .help = "block-skim: share of the answers that may be lost in all layers together"},    \
    {                                                                                            \
        .name = "threshold", .kind = CLI_NUMBER, .value = "X", .fallback = "-1", .lowest = -1,   \
        .highest = 0.999999,                                                                     \
        .help = "block-skim: the same threshold for all layers instead: a chance below 1"        \
    }

enum { ADAPT_SKIM_LAYERS = 256 };

typedef struct adapt_skim {
    const cli_call *call;
    spry_tokenizer *tokenizer;
    spry_dataset *questions; /* of --calibrate */
    spry_train_objective *objective;
    spry_skim_layer layers[ADAPT_SKIM_LAYERS];
    int32_t count; /* 0: no thresholds were chosen */
} adapt_skim;

/* Is this the name of a file of questions? */
bool adapt_skim_is_data(const char *data);

/* Opens what the call names: questions to train on into setup->options (setup may be NULL), others
 * for thresholds. Undo with adapt_skim_close. Fails with SPRY_USAGE, and as files do. */
SPRY_MUST_USE spry_status adapt_skim_open(adapt_skim *s, const cli_call *call, train_setup *setup,
                                          spry_error *error);
/* The objective for training `adapted` into setup->options. */
SPRY_MUST_USE spry_status adapt_skim_goal(adapt_skim *s, const spry_model *adapted,
                                          train_setup *setup, spry_error *error);
/* Chooses thresholds where there are questions: *chosen is a copy of `model`, or NULL. */
SPRY_MUST_USE spry_status adapt_skim_choose(adapt_skim *s, const spry_model *model,
                                            spry_dataset *trained_on, spry_model **chosen,
                                            spry_error *error);
void adapt_skim_close(adapt_skim *s);

/* Tells the thresholds, as a table or as a member "layers" of the document. */
void adapt_skim_print(const adapt_skim *s);
void adapt_skim_write(const adapt_skim *s, json_writer *json);

#endif
