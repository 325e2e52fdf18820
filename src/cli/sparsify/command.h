/* What the parts of spry sparsify share: what is asked for, what was made, what is told. */
#ifndef CLI_SPARSIFY_COMMAND_H
#define CLI_SPARSIFY_COMMAND_H

#include "cli/race.h"
#include "cli/train/command.h"
#include "spry/sparsify.h"

enum { SPARSIFY_MOST_EXCLUDED = 256 };

typedef struct sparsify_state {
    const cli_call *call;
    spry_sparsify_options options;
    const char *excluded[SPARSIFY_MOST_EXCLUDED];
    train_setup setup;        /* call is NULL: there is no data to train on */
    spry_dataset *validation; /* of --validate, where nothing is trained */
    spry_model *source;
    spry_sparsify_plan *plan; /* of --target-speedup */
    spry_model *teacher;      /* from --teacher */
    spry_model *pruned;       /* at once */
    spry_train_objective *objective;
    train_outcome outcome;
    /* What came of it: before and after. */
    int64_t bytes[2];
    race_result race;
    double top1[2]; /* below 0: not measured */
    spry_sparsity *zeros;
} sparsify_state;

/* The command's table (options.c). */
extern const cli_option sparsify_option_table[];

/* Fills s->options from the command line, and opens the data where nothing is trained. Fails with
 * SPRY_USAGE, and as data sets do. */
SPRY_MUST_USE spry_status sparsify_read_options(sparsify_state *s, spry_error *error);
/* The goal of pruning while training; the source, or --teacher, which it loads, teaches. Fails with
 * SPRY_USAGE, and as spry_model_load. */
SPRY_MUST_USE spry_status sparsify_read_goal(sparsify_state *s, spry_sparsify_goal *goal,
                                             spry_error *error);

/* Sizes, latencies, accuracies of both files (sides.c). Fails as loading and running them does. */
SPRY_MUST_USE spry_status sparsify_compare(sparsify_state *s, spry_error *error);
/* SPRY_NEGATIVE, with a warning for each reason, when the result is not as fast as was asked
 * for. */
SPRY_MUST_USE spry_status sparsify_judge(const sparsify_state *s);

/* Prints what came of it, as text or JSON, and writes the report where --report asks for it
 * (report.c). Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status sparsify_tell(sparsify_state *s, spry_error *error);

#endif
