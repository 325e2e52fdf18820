/* From the command line to an objective. */
#include "cli/adapt/goal.h"

#include <stdlib.h>
#include <string.h>

static spry_status read_target(const cli_call *call, double *target, spry_error *error)
{
    const char *word = cli_value(call, "target", 0);
    char *end = NULL;

    if (word == NULL) {
        return SPRY_OK;
    }
    *target = strtod(word, &end);
    if (end == word || *end != '\0' || cli_value(call, "target", 1) != NULL) {
        return spry_fail(error, SPRY_USAGE, "--target", "for example --target 0.5",
                         "'%s' is no share of the work", word);
    }
    return SPRY_OK;
}

/* The static network: what was adapted, unless that has masks itself. */
static spry_status choose_teacher(adapt_goal *goal, const spry_model *adapted,
                                  const spry_model *source, const cli_call *call,
                                  const spry_model **teacher, spry_error *error)
{
    const char *path = cli_text(call, "teacher");

    *teacher = NULL;
    if (path != NULL) {
        spry_status status = spry_model_load(NULL, path, &goal->teacher, error);

        *teacher = goal->teacher;
        return status;
    }
    if (source != adapted) {
        *teacher = source;
    } else if (cli_given(call, "distill") && cli_number(call, "distill") > 0) {
        return spry_fail(error, SPRY_USAGE, "--distill", "name the network before: --teacher MODEL",
                         "the model has masks already: it cannot be its own teacher");
    }
    return SPRY_OK;
}

spry_status adapt_goal_open(adapt_goal *goal, const spry_model *adapted, const spry_model *source,
                            train_setup *setup, spry_error *error)
{
    const cli_call *call = setup->call;
    spry_adapt_goal wanted = spry_adapt_goal_default();
    spry_status status = read_target(call, &wanted.target, error);

    *goal = (adapt_goal){.teacher = NULL};
    wanted.budget_ms = cli_number(call, "budget-ms");
    wanted.machine = cli_text(call, "budget-target");
    wanted.weight = cli_number(call, "sparsity-weight");
    wanted.opening = cli_number(call, "opening");
    wanted.descent = cli_number(call, "descent");
    wanted.teacher_weight = cli_number(call, "distill");
    wanted.teacher_temperature = cli_number(call, "distill-temperature");
    wanted.feature_weight = cli_number(call, "distill-features");
    wanted.ignore_labels = cli_given(call, "distill-only");
    if (status == SPRY_OK && wanted.budget_ms > 0 && cli_given(call, "target")) {
        status = spry_fail(error, SPRY_USAGE, "--budget-ms", "use one of them",
                           "--target asks for a share of the work already");
    }
    if (status == SPRY_OK) {
        status = choose_teacher(goal, adapted, source, call, &wanted.teacher, error);
    }
    if (status == SPRY_OK) {
        status = spry_adapt_objective(adapted, &wanted, &goal->objective, error);
    }
    setup->options.objective = goal->objective;
    setup->options.gates = cli_given(call, "fixed-masks") ? NULL : SPRY_ADAPT_GATES;
    return status;
}

void adapt_goal_close(adapt_goal *goal)
{
    spry_train_objective_destroy(goal->objective);
    spry_model_destroy(goal->teacher);
}

double adapt_goal_rate(const cli_call *call, const char *name)
{
    return cli_number(call, strstr(name, "_masker_") != NULL ? "masker-lr" : "backbone-lr");
}
