/* What masked networks are trained towards, as the command line says it. */
#ifndef CLI_ADAPT_GOAL_H
#define CLI_ADAPT_GOAL_H

#include "cli/train/options.h"
#include "spry/adapt.h"

/* The options, as the `shared` table of a command. */
#define ADAPT_GOAL_OPTIONS                                                                       \
    {.name = "budget-ms",                                                                        \
     .kind = CLI_NUMBER,                                                                         \
     .value = "MS",                                                                              \
     .fallback = "0",                                                                            \
     .lowest = 0,                                                                                \
     .highest = 1e6,                                                                             \
     .help = "lasnet: predicted milliseconds a sample that are to be left, in place of "         \
             "--target"},                                                                        \
        {.name = "budget-target",                                                                \
         .kind = CLI_TEXT,                                                                       \
         .value = "NAME",                                                                        \
         .fallback = "cpu",                                                                      \
         .help = "lasnet: whose milliseconds those are: a target of spry predict, cpu for this " \
                 "machine after spry doctor --calibrate"},                                       \
        {.name = "sparsity-weight",                                                              \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "10",                                                                       \
         .lowest = 0,                                                                            \
         .highest = 1e6,                                                                         \
         .help = "lasnet: what being off the target weighs in the loss"},                        \
        {.name = "opening",                                                                      \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0.33",                                                                     \
         .lowest = 0,                                                                            \
         .highest = 1,                                                                           \
         .help = "lasnet: share of training over which single blocks are let off the target; "   \
                 "until then each is held to it"},                                               \
        {.name = "descent",                                                                      \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0",                                                                        \
         .lowest = 0,                                                                            \
         .highest = 1,                                                                           \
         .help = "lasnet: share of training over which the target falls from 1 to --target"},    \
        {.name = "distill",                                                                      \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0.5",                                                                      \
         .lowest = 0,                                                                            \
         .highest = 1e6,                                                                         \
         .help = "lasnet: what the teacher's scores weigh in the loss, 0 for no teacher"},       \
        {.name = "distill-temperature",                                                          \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "4",                                                                        \
         .lowest = 0.001,                                                                        \
         .highest = 1000,                                                                        \
         .help = "lasnet: how soft the teacher's scores are made"},                              \
        {.name = "distill-features",                                                             \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0",                                                                        \
         .lowest = 0,                                                                            \
         .highest = 1e6,                                                                         \
         .help = "lasnet: what being off the teacher's last features weighs in the loss"},       \
        {.name = "distill-only",                                                                 \
         .kind = CLI_FLAG,                                                                       \
         .help = "lasnet: learn from the teacher alone; labels do not count"},                   \
        {.name = "teacher",                                                                      \
         .kind = CLI_PATH,                                                                       \
         .value = "MODEL",                                                                       \
         .help = "lasnet: whose scores are learnt; MODEL itself when nothing is said"},          \
        {.name = "fixed-masks",                                                                  \
         .kind = CLI_FLAG,                                                                       \
         .help = "lasnet: maskers decide as when the model runs, and do not learn"},             \
        {.name = "backbone-lr",                                                                  \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0.1",                                                                      \
         .lowest = 0,                                                                            \
         .highest = 1e6,                                                                         \
         .help = "lasnet: factor of the rate for the weights of the network"},                   \
    {                                                                                            \
        .name = "masker-lr", .kind = CLI_NUMBER, .value = "X", .fallback = "1", .lowest = 0,     \
        .highest = 1e6, .help = "lasnet: factor of the rate for the maskers"                     \
    }

typedef struct adapt_goal {
    spry_model *teacher; /* from --teacher */
    spry_train_objective *objective;
} adapt_goal;

/* Makes the objective for training `adapted` and puts it into setup->options; `source` teaches
 * unless the call says otherwise, or it is adapted itself. Undo with adapt_goal_close, after
 * training. Fails with SPRY_USAGE, and as spry_model_load and spry_adapt_objective. */
SPRY_MUST_USE spry_status adapt_goal_open(adapt_goal *goal, const spry_model *adapted,
                                          const spry_model *source, train_setup *setup,
                                          spry_error *error);
void adapt_goal_close(adapt_goal *goal);

/* The factor of the rate for a trained tensor of that name. */
double adapt_goal_rate(const cli_call *call, const char *name);

#endif
