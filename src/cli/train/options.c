/* From the command line to spry_train_options. */
#include "cli/train/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/output.h"

static const char *const train_optimizers[] = {"sgd", "adam", "adamw", NULL};
static const char *const train_schedules[] = {"constant",    "cosine",    "linear", "steps",
                                              "exponential", "one-cycle", NULL};
static const char *const train_coolings[] = {"constant", "exponential", "linear", "cosine", NULL};
static const spry_schedule train_cooling_kinds[] = {
    SPRY_SCHEDULE_CONSTANT, SPRY_SCHEDULE_EXPONENTIAL, SPRY_SCHEDULE_LINEAR, SPRY_SCHEDULE_COSINE};
static const char *const train_precisions[] = {"f32", "bf16", NULL};

const cli_option train_option_table[] = {
    {.name = "data",
     .letter = 'd',
     .kind = CLI_TEXT,
     .value = "KIND:PATH",
     .help = "labelled samples to learn from: cifar10, idx, folder, labels, npz, csv or "
             "safetensors, and where they lie"},
    {.name = "validate",
     .kind = CLI_TEXT,
     .value = "KIND:PATH",
     .help = "labelled samples to measure on after every epoch"},
    SUBJECT_PREPROCESS_OPTION,
    {.name = "augment",
     .kind = CLI_TEXT,
     .value = "STEPS",
     .help = "random changes of samples, such as crop:4,flip,cutout:8"},
    {.name = "whole",
     .kind = CLI_FLAG,
     .help = "all samples in their order are the batch, for models that relate samples to each "
             "other"},
    {.name = "mask",
     .kind = CLI_TEXT,
     .value = "ARRAY",
     .help = "with --whole: samples count where this array of the data is not 0"},
    {.name = "validate-mask",
     .kind = CLI_TEXT,
     .value = "ARRAY",
     .help = "the same of the --validate data"},
    {.name = "balanced", .kind = CLI_FLAG, .help = "draw all classes equally often"},
    {.name = "strict",
     .kind = CLI_FLAG,
     .help = "fail at samples that cannot be read instead of leaving them out"},
    {.name = "batch",
     .letter = 'b',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "64",
     .lowest = 1,
     .highest = 1048576,
     .help = "samples per batch"},
    {.name = "epochs",
     .letter = 'e',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "10",
     .lowest = 1,
     .highest = 1e9,
     .help = "passes over the data"},
    {.name = "steps",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1e12,
     .help = "steps instead of --epochs, 0 for those"},
    {.name = "accumulate",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 1e6,
     .help = "batches whose gradients make one step"},
    {.name = "lr",
     .kind = CLI_NUMBER,
     .value = "X",
     .lowest = 0,
     .highest = 1e6,
     .help = "highest learning rate; default 0.05 for sgd, 0.001 otherwise"},
    {.name = "optimizer",
     .kind = CLI_CHOICE,
     .value = "NAME",
     .fallback = "sgd",
     .choices = train_optimizers,
     .help = "how steps are made"},
    {.name = "weight-decay",
     .kind = CLI_NUMBER,
     .value = "X",
     .lowest = 0,
     .highest = 1e6,
     .help = "decay of weights, not of biases, norms and positions; default 0.0005 for sgd, "
             "0.01 for adamw, 0 for adam"},
    {.name = "momentum",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0.9",
     .lowest = 0,
     .highest = 0.999999,
     .help = "of sgd"},
    {.name = "nesterov", .kind = CLI_FLAG, .help = "sgd with Nesterov's momentum"},
    {.name = "beta1",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0.9",
     .lowest = 0,
     .highest = 0.999999,
     .help = "of adam: what the mean gradient keeps"},
    {.name = "beta2",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0.999",
     .lowest = 0,
     .highest = 0.999999999,
     .help = "of adam: what the mean square keeps"},
    {.name = "schedule",
     .kind = CLI_CHOICE,
     .value = "NAME",
     .fallback = "cosine",
     .choices = train_schedules,
     .help = "how the learning rate moves"},
    {.name = "warm-up",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1e12,
     .help = "steps at the start in which the rate rises"},
    {.name = "min-lr",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = 0,
     .highest = 1e6,
     .help = "rate at the end of cosine, linear and one-cycle"},
    {.name = "gamma",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0.1",
     .lowest = 0,
     .highest = 1e3,
     .help = "factor of the rate: at each milestone (steps), or each epoch (exponential)"},
    {.name = "milestones",
     .kind = CLI_TEXT,
     .value = "LIST",
     .fallback = "0.5,0.75",
     .help = "of the schedule steps: fractions of the whole, or epochs"},
    {.name = "clip",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = 0,
     .highest = 1e30,
     .help = "longest gradient, 0 for any"},
    {.name = "ema",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = 0,
     .highest = 0.999999999,
     .help = "give a moving average of the weights that keeps so much each step, 0 for none"},
    {.name = "label-smoothing",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = 0,
     .highest = 0.999,
     .help = "share of the target that all classes get alike"},
    {.name = "gates",
     .kind = CLI_TEXT,
     .value = "PATTERN",
     .help = "GreaterOrEqual nodes with such names decide by chance while they learn, and get "
             "gradients as soft gates"},
    {.name = "temperature",
     .kind = CLI_TEXT,
     .value = "START:END",
     .fallback = "5:0.1",
     .help = "of the gates: soft and smooth at the start, close to hard at the end"},
    {.name = "temperature-schedule",
     .kind = CLI_CHOICE,
     .value = "NAME",
     .fallback = "exponential",
     .choices = train_coolings,
     .help = "how the temperature moves"},
    {.name = "gate-noise",
     .kind = CLI_TEXT,
     .value = "START:END",
     .fallback = "1:1",
     .help = "how much chance counts in the gates; 0 decides as the trained model does"},
    {.name = "dp-epsilon",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = 0,
     .highest = 1e6,
     .help = "protect single samples: the privacy that all steps together may spend, 0 for no "
             "protection"},
    {.name = "dp-delta",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "1e-5",
     .lowest = 0,
     .highest = 1,
     .help = "chance that the protection fails, well below 1 / samples"},
    {.name = "dp-clip",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "1",
     .lowest = 0,
     .highest = 1e30,
     .help = "longest gradient of a sample"},
    {.name = "dp-noise",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = 0,
     .highest = 1e6,
     .help = "noise in units of --dp-clip, instead of what --dp-epsilon needs"},
    {.name = "dp-seeded",
     .kind = CLI_FLAG,
     .help = "draw the noise from --seed: repeatable, and not private"},
    {.name = "freeze",
     .kind = CLI_TEXT,
     .value = "PATTERN",
     .repeats = true,
     .help = "weights that stay as they are, by name; * and ? stand for others"},
    {.name = "only",
     .kind = CLI_TEXT,
     .value = "PATTERN",
     .repeats = true,
     .help = "train the weights with such names alone"},
    {.name = "group",
     .kind = CLI_TEXT,
     .value = "PATTERN:lr=X,decay=Y",
     .repeats = true,
     .help = "factors of rate and decay for weights with such names"},
    {.name = "freeze-norms",
     .kind = CLI_FLAG,
     .help = "batch norms keep their running statistics, and use them"},
    {.name = "seed",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 9007199254740992.0,
     .help = "seed of all that is random"},
    {.name = "threads",
     .letter = 't',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1024,
     .help = "threads to use, 0 for as many as the process may use"},
    {.name = "precision",
     .kind = CLI_CHOICE,
     .value = "TYPE",
     .fallback = "f32",
     .choices = train_precisions,
     .help = "of products; weights and sums are f32"},
    {.name = "recompute",
     .kind = CLI_FLAG,
     .help = "compute cheap activations again for gradients: less memory, the same result"},
    {.name = "checkpoints",
     .kind = CLI_PATH,
     .value = "DIR",
     .help = "write checkpoints to DIR after every epoch"},
    {.name = "checkpoint-steps",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1e12,
     .help = "and after every N steps"},
    {.name = "keep",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "3",
     .lowest = 0,
     .highest = 1e6,
     .help = "newest checkpoints that stay, beside the best; 0 for all"},
    {.name = "resume",
     .kind = CLI_PATH,
     .value = "DIR",
     .help = "go on from the newest checkpoint in DIR, if there is one, and write there"},
    {.name = "best", .kind = CLI_FLAG, .help = "give the weights of the epoch that validated best"},
    {.name = "log",
     .kind = CLI_PATH,
     .value = "FILE.jsonl",
     .help = "write a line of JSON for every step and epoch"},
    {.name = "html",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write what came of it as one page that opens without a network: curves, confusions"},
    {.name = "config",
     .kind = CLI_PATH,
     .value = "FILE.json",
     .help = "options from a file: an object whose keys are these names; the command line wins"},
    {0},
};

/* What an optimizer takes where nothing is said. */
static const struct {
    double rate, decay;
} usual[] = {{0.05, 5e-4}, {1e-3, 0}, {1e-3, 0.01}};

enum { MOST_MILESTONES = 64 };

static int index_of(const char *const *choices, const char *word)
{
    for (int i = 0; choices[i] != NULL; i++) {
        if (strcmp(choices[i], word) == 0) {
            return i;
        }
    }
    return 0;
}

/* ---- rules ---- */

static int count_values(const cli_call *call, const char *name)
{
    int count = 0;

    while (cli_value(call, name, count) != NULL) {
        count++;
    }
    return count;
}

/* "lr=X,decay=Y", each at most once. */
static bool read_factors(const char *at, spry_train_rule *rule)
{
    while (*at != '\0') {
        double *number = strncmp(at, "lr=", 3) == 0      ? &rule->rate
                         : strncmp(at, "decay=", 6) == 0 ? &rule->decay
                                                         : NULL;
        char *end = NULL;

        if (number == NULL || *number >= 0) {
            return false;
        }
        at = strchr(at, '=') + 1;
        *number = strtod(at, &end);
        if (end == at || !(*number >= 0 && *number <= 1e6) || (*end != ',' && *end != '\0')) {
            return false;
        }
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}

static spry_status read_group(const char *word, arena *memory, spry_train_rule *rule,
                              spry_error *error)
{
    const char *colon = strrchr(word, ':');
    char *pattern;

    *rule = (spry_train_rule){.rate = -1, .decay = -1};
    if (colon == NULL || colon == word || colon[1] == '\0' || !read_factors(colon + 1, rule)) {
        return spry_fail(error, SPRY_USAGE, "--group", "for example --group 'head.*:lr=10,decay=0'",
                         "'%s' is no pattern with factors", word);
    }
    pattern = arena_text(memory, word, (size_t)(colon - word));
    if (pattern == NULL) {
        return alloc_failed(error, strlen(word));
    }
    rule->pattern = pattern;
    return SPRY_OK;
}

/* A rule that freezes or not wins over those before it, so --group comes first; then everything is
 * frozen but --only, and --freeze. */
static spry_status read_rules(train_setup *s, spry_error *error)
{
    int only = count_values(s->call, "only");
    int freeze = count_values(s->call, "freeze");
    int groups = count_values(s->call, "group");
    spry_train_rule *rules =
        arena_array(&s->memory, (size_t)(only + freeze + groups) + 1, sizeof *rules);
    spry_status status = SPRY_OK;
    int32_t count = 0;

    if (rules == NULL) {
        return alloc_failed(error, sizeof *rules);
    }
    for (int i = 0; i < groups && status == SPRY_OK; i++) {
        status = read_group(cli_value(s->call, "group", i), &s->memory, &rules[count++], error);
    }
    if (only > 0) {
        rules[count++] = (spry_train_rule){"*", true, -1, -1};
    }
    for (int i = 0; i < only; i++) {
        rules[count++] = (spry_train_rule){cli_value(s->call, "only", i), false, -1, -1};
    }
    for (int i = 0; i < freeze; i++) {
        rules[count++] = (spry_train_rule){cli_value(s->call, "freeze", i), true, -1, -1};
    }
    s->options.rules = rules;
    s->options.rule_count = count;
    return status;
}

/* ---- milestones ---- */

/* Numbers below 1 are fractions of the whole, others epochs. */
static spry_status read_milestones(train_setup *s, spry_error *error)
{
    const char *at = cli_text(s->call, "milestones");
    double *list = arena_array(&s->memory, MOST_MILESTONES, sizeof *list);
    int32_t count = 0;

    if (list == NULL) {
        return alloc_failed(error, MOST_MILESTONES * sizeof *list);
    }
    while (*at != '\0' && count < MOST_MILESTONES) {
        char *end = NULL;

        list[count] = strtod(at, &end);
        if (end == at || !(list[count] > 0) || (*end != ',' && *end != '\0')) {
            return spry_fail(error, SPRY_USAGE, "--milestones", "for example 0.5,0.75 or 30,60,80",
                             "'%s' is no list of numbers", cli_text(s->call, "milestones"));
        }
        if (list[count] >= 1) {
            list[count] /= (double)s->options.epochs;
        }
        count++;
        at = *end == ',' ? end + 1 : end;
    }
    s->options.milestones = list;
    s->options.milestone_count = count;
    return SPRY_OK;
}

/* ---- gates ---- */

/* "START:END", or one number for both. */
static spry_status read_span(const cli_call *call, const char *name, double *first, double *last,
                             spry_error *error)
{
    const char *word = cli_text(call, name);
    char *end = NULL;

    *first = strtod(word, &end);
    *last = *first;
    if (end != word && *end == ':') {
        word = end + 1;
        *last = strtod(word, &end);
    }
    if (end == word || *end != '\0') {
        return spry_fail(error, SPRY_USAGE, name, "write START:END, for example 1:0.1",
                         "'%s' is neither a number nor two", cli_text(call, name));
    }
    return SPRY_OK;
}

static spry_status read_gates(train_setup *s, spry_error *error)
{
    spry_train_options *o = &s->options;
    spry_status status =
        read_span(s->call, "temperature", &o->temperature, &o->temperature_end, error);

    o->gates = cli_text(s->call, "gates");
    o->temperature_schedule =
        train_cooling_kinds[index_of(train_coolings, cli_text(s->call, "temperature-schedule"))];
    return status == SPRY_OK
               ? read_span(s->call, "gate-noise", &o->gate_noise, &o->gate_noise_end, error)
               : status;
}

/* ---- the whole ---- */

static void read_numbers(train_setup *s)
{
    const cli_call *call = s->call;
    spry_train_options *o = &s->options;

    o->augment = cli_text(call, "augment");
    o->recompute = cli_given(call, "recompute");
    o->whole = cli_given(call, "whole");
    o->mask = cli_text(call, "mask");
    o->validation_mask = cli_text(call, "validate-mask");
    o->balanced = cli_given(call, "balanced");
    o->strict = cli_given(call, "strict");
    o->batch = cli_integer(call, "batch");
    o->epochs = cli_integer(call, "epochs");
    o->steps = cli_integer(call, "steps");
    o->accumulate = cli_integer(call, "accumulate");
    o->optimizer = (spry_optimizer)index_of(train_optimizers, cli_text(call, "optimizer"));
    o->rate = cli_given(call, "lr") ? cli_number(call, "lr") : usual[o->optimizer].rate;
    o->decay = cli_given(call, "weight-decay") ? cli_number(call, "weight-decay")
                                               : usual[o->optimizer].decay;
    o->momentum = cli_number(call, "momentum");
    o->nesterov = cli_given(call, "nesterov");
    o->beta1 = cli_number(call, "beta1");
    o->beta2 = cli_number(call, "beta2");
    o->schedule = (spry_schedule)index_of(train_schedules, cli_text(call, "schedule"));
    o->warm_up = cli_integer(call, "warm-up");
    o->least = cli_number(call, "min-lr");
    o->gamma = cli_number(call, "gamma");
    o->clip = cli_number(call, "clip");
    o->average = cli_number(call, "ema");
    o->smoothing = cli_number(call, "label-smoothing");
    o->private_epsilon = cli_number(call, "dp-epsilon");
    o->private_delta = cli_number(call, "dp-delta");
    o->private_clip = cli_number(call, "dp-clip");
    o->private_noise = cli_number(call, "dp-noise");
    o->private_seeded = cli_given(call, "dp-seeded");
    o->freeze_statistics = cli_given(call, "freeze-norms");
    o->seed = (uint64_t)cli_integer(call, "seed");
    o->threads = (int)cli_integer(call, "threads");
    o->precision = (spry_precision)index_of(train_precisions, cli_text(call, "precision"));
    o->checkpoints = cli_text(call, cli_given(call, "resume") ? "resume" : "checkpoints");
    o->resume = cli_given(call, "resume");
    o->checkpoint_steps = cli_integer(call, "checkpoint-steps");
    o->checkpoint_last = (int32_t)cli_integer(call, "keep");
    o->keep_best = cli_given(call, "best");
}

static spry_status open_data(train_setup *s, spry_error *error)
{
    const char *data = cli_text(s->call, "data");
    const char *validation = cli_text(s->call, "validate");
    spry_status status;

    if (data == NULL) {
        return spry_fail(error, SPRY_USAGE, "--data", "for example --data cifar10:train.bin",
                         "no data given");
    }
    if (strncmp(data, "squad:", strlen("squad:")) == 0) {
        return strcmp(s->call->command->name, "adapt") == 0
                   ? SPRY_OK /* opened when the method is known */
                   : spry_fail(error, SPRY_USAGE, data, "spry adapt --method block-skim does",
                               "this command does not learn from questions");
    }
    status = spry_dataset_open(NULL, data, &s->options.data, error);
    if (status == SPRY_OK && validation != NULL) {
        status = spry_dataset_open(NULL, validation, &s->options.validation, error);
    }
    return status;
}

spry_status train_setup_open(train_setup *s, const cli_call *call, spry_error *error)
{
    spry_status status;

    *s = (train_setup){.call = call, .options = spry_train_options_default()};
    arena_init(&s->memory, NULL, SIZE_MAX);
    read_numbers(s);
    if (cli_given(call, "resume") && cli_given(call, "checkpoints")) {
        return spry_fail(error, SPRY_USAGE, "--resume", "leave --checkpoints out",
                         "--resume names the folder of checkpoints already");
    }
    if (cli_given(call, "html")) {
        status = output_check_free(call, cli_text(call, "html"), error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    status = spry_preprocess_parse(cli_text(call, "preprocess"), &s->recipe, error);
    s->options.recipe = &s->recipe;
    if (status == SPRY_OK) {
        status = read_rules(s, error);
    }
    if (status == SPRY_OK) {
        status = read_milestones(s, error);
    }
    if (status == SPRY_OK) {
        status = read_gates(s, error);
    }
    return status == SPRY_OK ? open_data(s, error) : status;
}

void train_setup_close(train_setup *s)
{
    spry_dataset_close(s->options.data);
    spry_dataset_close(s->options.validation);
    arena_fini(&s->memory);
}
