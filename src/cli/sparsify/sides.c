/* The dense and the pruned file beside each other, and a verdict. */
#include <sys/stat.h>

#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/sparsify/command.h"
#include "spry/evaluate.h"

enum { BEFORE, AFTER, SIDES };

static spry_dataset *validation_of(const sparsify_state *s)
{
    return s->validation != NULL ? s->validation : s->setup.options.validation;
}

static spry_status evaluate(const sparsify_state *s, const race_side *side, double *top1,
                            spry_error *error)
{
    spry_evaluate_options asked = spry_evaluate_options_default();
    spry_evaluation *evaluation = NULL;
    progress_bar bar;
    spry_status status;

    progress_bar_begin(&bar, s->call);
    asked.recipe = &s->setup.recipe;
    asked.progress = &bar.hook;
    status =
        spry_evaluate(side->model, side->session, validation_of(s), &asked, &evaluation, error);
    progress_bar_end(&bar);
    if (status == SPRY_OK) {
        *top1 = spry_evaluation_totals(evaluation)->top1;
    }
    spry_evaluation_destroy(evaluation);
    return status;
}

spry_status sparsify_compare(sparsify_state *s, spry_error *error)
{
    const char *const paths[SIDES] = {s->call->arguments[0], cli_text(s->call, "output")};
    spry_session_options options = spry_session_options_default();
    spry_model *models[SIDES] = {NULL, NULL};
    race_side sides[SIDES] = {{NULL, NULL}, {NULL, NULL}};
    spry_status status = SPRY_OK;

    options.threads = (int)cli_integer(s->call, "threads");
    for (int i = 0; i < SIDES && status == SPRY_OK; i++) { /* from the file, as the next user */
        struct stat facts;

        status = spry_model_load(NULL, paths[i], &models[i], error);
        if (status == SPRY_OK) {
            status = spry_session_create(models[i], &options, &sides[i].session, error);
        }
        sides[i].model = models[i];
        s->bytes[i] = stat(paths[i], &facts) == 0 ? (int64_t)facts.st_size : 0;
        s->top1[i] = -1.0;
    }
    if (status == SPRY_OK) {
        status = spry_sparsity_of(models[AFTER], &s->zeros, error);
    }
    if (status == SPRY_OK && !cli_given(s->call, "no-bench")) {
        status = race_run(sides, &s->race, error);
    }
    for (int i = 0; i < SIDES && status == SPRY_OK && validation_of(s) != NULL; i++) {
        status = evaluate(s, &sides[i], &s->top1[i], error);
    }
    for (int i = 0; i < SIDES; i++) {
        spry_session_destroy(sides[i].session);
        spry_model_destroy(models[i]);
    }
    return status;
}

spry_status sparsify_judge(const sparsify_state *s)
{
    double wanted = cli_number(s->call, "target-speedup");

    if (wanted <= 0.0 || s->race.speed_up <= 0.0 || s->race.speed_up >= wanted) {
        return SPRY_OK;
    }
    if (s->race.speed_up < 1.0) {
        output_warn(s->call, "the pruned model is slower here: %.2f times as fast as the dense one",
                    s->race.speed_up);
    } else {
        output_warn(s->call, "the pruned model is %.2f times as fast here, not %.2f times",
                    s->race.speed_up, wanted);
    }
    return SPRY_NEGATIVE;
}
