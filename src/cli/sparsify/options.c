/* The options of spry sparsify. */
#include <stdlib.h>

#include "cli/sparsify/command.h"

static const char *const methods[] = {"lanes", "magnitude", "panel", "block", "filter", "nm", NULL};
static const char *const spreads[] = {"uniform", "global", NULL};

const cli_option sparsify_option_table[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "where the pruned model goes"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace an existing FILE"},
    {.name = "ratio",
     .letter = 'r',
     .kind = CLI_NUMBER,
     .value = "R",
     .fallback = "0.5",
     .lowest = 0,
     .highest = 0.99,
     .help = "share of the weights that becomes zero, over the whole model"},
    {.name = "method",
     .letter = 'm',
     .kind = CLI_CHOICE,
     .value = "NAME",
     .fallback = "lanes",
     .choices = methods,
     .help = "what becomes zero together: single numbers, 16 outputs of an input at a place of the "
             "kernel, the same at all places, whole outputs, or all but N of M neighbours"},
    {.name = "spread",
     .kind = CLI_CHOICE,
     .value = "NAME",
     .fallback = "global",
     .choices = spreads,
     .help = "the same share in every layer, or more where less is lost"},
    {.name = "pattern",
     .kind = CLI_TEXT,
     .value = "N:M",
     .fallback = "2:4",
     .help = "nm: of M neighbouring inputs N stay"},
    {.name = "ends", .kind = CLI_FLAG, .help = "prune the first and the last layer too"},
    {.name = "exclude",
     .kind = CLI_TEXT,
     .value = "PATTERN",
     .repeats = true,
     .help = "weights or operators that stay as they are, by name; * and ? stand for others"},
    {.name = "target-speedup",
     .kind = CLI_NUMBER,
     .value = "S",
     .fallback = "0",
     .lowest = 0,
     .highest = 1000,
     .help = "be S times as fast as the dense model here, with zeros where they cost least; 0 asks "
             "for --ratio alone"},
    {.name = "no-bench", .kind = CLI_FLAG, .help = "do not measure latencies"},
    {.name = "report",
     .kind = CLI_PATH,
     .value = "FILE.json",
     .help = "write what came of it, layer by layer"},
    {.name = "grow",
     .kind = CLI_TEXT,
     .value = "FROM:TO",
     .fallback = "0:0.5",
     .help = "shares of training between which the zeros grow from none to all; 0:0 has all from "
             "the start"},
    {.name = "grow-steps",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "10",
     .lowest = 1,
     .highest = 1e9,
     .help = "steps of training between two choices of what is zero"},
    {.name = "distill",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "1",
     .lowest = 0,
     .highest = 1e6,
     .help = "what the teacher's scores weigh in the loss, 0 for no teacher"},
    {.name = "distill-temperature",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "4",
     .lowest = 0.001,
     .highest = 1000,
     .help = "how soft the teacher's scores are made"},
    {.name = "distill-only",
     .kind = CLI_FLAG,
     .help = "learn from the teacher alone; labels do not count"},
    {.name = "teacher",
     .kind = CLI_PATH,
     .value = "MODEL",
     .help = "whose scores are learnt; MODEL itself when nothing is said"},
    {0},
};

/* Two numbers with a colon between. */
static bool read_pair(const char *word, double *first, double *second)
{
    char *end = NULL;

    *first = strtod(word, &end);
    if (end == word || *end != ':') {
        return false;
    }
    word = end + 1;
    *second = strtod(word, &end);
    return end != word && *end == '\0';
}

/* Where training has not opened it. */
static spry_status open_validation(sparsify_state *s, spry_error *error)
{
    const char *path = cli_text(s->call, "validate");
    spry_status status =
        spry_preprocess_parse(cli_text(s->call, "preprocess"), &s->setup.recipe, error);

    return status == SPRY_OK && path != NULL ? spry_dataset_open(NULL, path, &s->validation, error)
                                             : status;
}

spry_status sparsify_read_options(sparsify_state *s, spry_error *error)
{
    const cli_call *call = s->call;
    spry_sparsify_options *o = &s->options;
    const char *word;
    double keep;
    double of;

    *o = spry_sparsify_options_default();
    o->method = cli_text(call, "method");
    o->ratio = cli_number(call, "ratio");
    o->spread = cli_text(call, "spread");
    o->ends = cli_given(call, "ends");
    o->exclude = s->excluded;
    while ((word = cli_value(call, "exclude", o->exclude_count)) != NULL) {
        if (o->exclude_count == SPARSIFY_MOST_EXCLUDED) {
            return spry_fail(error, SPRY_USAGE, "--exclude", "use * in names",
                             "given more than %d times", (int)SPARSIFY_MOST_EXCLUDED);
        }
        s->excluded[o->exclude_count++] = word;
    }
    if (!read_pair(cli_text(call, "pattern"), &keep, &of) || !(keep >= 1 && of <= 64) ||
        keep != (int32_t)keep || of != (int32_t)of) {
        return spry_fail(error, SPRY_USAGE, "--pattern", "for example 2:4", "'%s' is no pattern",
                         cli_text(call, "pattern"));
    }
    o->keep = (int32_t)keep;
    o->of = (int32_t)of;
    return s->setup.call == NULL ? open_validation(s, error) : SPRY_OK;
}

spry_status sparsify_read_goal(sparsify_state *s, spry_sparsify_goal *goal, spry_error *error)
{
    const cli_call *call = s->call;
    const char *path = cli_text(call, "teacher");
    spry_status status = SPRY_OK;

    *goal = spry_sparsify_goal_default();
    goal->teacher_weight = cli_number(call, "distill");
    goal->teacher_temperature = cli_number(call, "distill-temperature");
    goal->ignore_labels = cli_given(call, "distill-only");
    goal->update_steps = cli_integer(call, "grow-steps");
    if (!read_pair(cli_text(call, "grow"), &goal->begin, &goal->end)) {
        return spry_fail(error, SPRY_USAGE, "--grow", "for example 0:0.5", "'%s' is no span",
                         cli_text(call, "grow"));
    }
    if (goal->end > 0.0 && cli_given(call, "best")) {
        return spry_fail(error, SPRY_USAGE, "--best", "leave it out, or use --grow 0:0",
                         "early epochs have fewer zeros than are asked for");
    }
    if (path != NULL) {
        status = spry_model_load(NULL, path, &s->teacher, error);
    }
    goal->teacher = path != NULL ? s->teacher : s->source;
    return status;
}
