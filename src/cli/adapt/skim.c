/* From the command line to data sets of questions, and tables of thresholds. */
#include "cli/adapt/skim.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/output.h"
#include "cli/progress_bar.h"

static const char kind[] = "squad:";

bool adapt_skim_is_data(const char *data)
{
    return data != NULL && strncmp(data, kind, sizeof kind - 1) == 0;
}

static spry_status open_questions(const adapt_skim *s, const char *data, spry_dataset **made,
                                  spry_error *error)
{
    spry_span_options o = spry_span_options_default();
    spry_squad *squad = NULL;
    spry_status status;

    if (!adapt_skim_is_data(data)) {
        return spry_fail(error, SPRY_USAGE, data, "write squad:FILE",
                         "block-skim learns from questions and answers");
    }
    o.window = (int32_t)cli_integer(s->call, "window");
    o.stride = (int32_t)cli_integer(s->call, "stride");
    status = spry_squad_open(NULL, data + sizeof kind - 1, &squad, error);
    if (status == SPRY_OK) {
        status = spry_span_data(squad, s->tokenizer, &o, made, error);
    }
    spry_squad_close(squad);
    return status;
}

spry_status adapt_skim_open(adapt_skim *s, const cli_call *call, train_setup *setup,
                            spry_error *error)
{
    const char *calibrate = cli_text(call, "calibrate");
    spry_status status = SPRY_OK;

    *s = (adapt_skim){.call = call};
    if (setup == NULL && calibrate == NULL) {
        return SPRY_OK;
    }
    if (cli_text(call, "vocab") == NULL) {
        return spry_fail(error, SPRY_USAGE, "--vocab", "for example --vocab vocab.txt",
                         "the model's vocabulary is needed to read questions");
    }
    if (cli_given(call, "validate")) {
        return spry_fail(error, SPRY_USAGE, "--validate", "use spry evaluate afterwards",
                         "answers to questions are not measured while training");
    }
    status = spry_tokenizer_load(cli_text(call, "vocab"), NULL, &s->tokenizer, error);
    if (status == SPRY_OK && setup != NULL) {
        status = open_questions(s, cli_text(call, "data"), &setup->options.data, error);
    }
    if (status == SPRY_OK && calibrate != NULL) {
        status = open_questions(s, calibrate, &s->questions, error);
    }
    return status;
}

spry_status adapt_skim_goal(adapt_skim *s, const spry_model *adapted, train_setup *setup,
                            spry_error *error)
{
    spry_adapt_goal goal = spry_adapt_goal_default();
    spry_status status;

    goal.harmony = cli_number(s->call, "harmony");
    goal.balance = cli_number(s->call, "balance");
    goal.strict_blocks = cli_given(s->call, "strict-blocks");
    status = spry_adapt_objective(adapted, &goal, &s->objective, error);
    setup->options.objective = s->objective;
    return status;
}

spry_status adapt_skim_choose(adapt_skim *s, const spry_model *model, spry_dataset *trained_on,
                              spry_model **chosen, spry_error *error)
{
    spry_skim_options o = spry_skim_options_default();
    spry_dataset *questions = s->questions != NULL ? s->questions : trained_on;
    progress_bar bar;
    spry_status status;

    *chosen = NULL;
    if (questions == NULL) {
        return SPRY_OK;
    }
    if (s->questions == NULL) {
        output_note(s->call, "thresholds are chosen on the questions that were learnt: name others "
                             "by --calibrate");
    }
    o.miss = cli_number(s->call, "miss");
    o.threshold = cli_number(s->call, "threshold");
    o.threads = (int)cli_integer(s->call, "threads");
    progress_bar_begin(&bar, s->call);
    o.progress = &bar.hook;
    status = spry_adapt_choose_thresholds(model, questions, &o, chosen, s->layers,
                                          ADAPT_SKIM_LAYERS, &s->count, error);
    progress_bar_end(&bar);
    return status;
}

void adapt_skim_close(adapt_skim *s)
{
    spry_train_objective_destroy(s->objective);
    spry_dataset_close(s->questions);
    spry_tokenizer_destroy(s->tokenizer);
}

void adapt_skim_print(const adapt_skim *s)
{
    if (s->count > 0) {
        (void)fprintf(s->call->out, "\nafter layer  threshold  answers  recall    kept\n");
    }
    for (int32_t i = 0; i < s->count && i < ADAPT_SKIM_LAYERS; i++) {
        const spry_skim_layer *l = &s->layers[i];

        (void)fprintf(s->call->out, "%11d  %9.6f  %7" PRId64 "  %6.4f  %5.1f %%\n", (int)i,
                      l->threshold, l->answers, l->recall, 100 * l->kept);
    }
}

void adapt_skim_write(const adapt_skim *s, json_writer *json)
{
    json_write_array(json, "layers");
    for (int32_t i = 0; i < s->count && i < ADAPT_SKIM_LAYERS; i++) {
        const spry_skim_layer *l = &s->layers[i];

        json_write_object(json, NULL);
        json_write_f64(json, "threshold", l->threshold);
        json_write_i64(json, "answers", l->answers);
        json_write_f64(json, "recall", l->recall);
        json_write_i64(json, "blocks", l->blocks);
        json_write_f64(json, "kept", l->kept);
        json_write_end(json);
    }
    json_write_end(json);
}
