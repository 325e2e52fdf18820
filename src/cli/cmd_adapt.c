/* spry adapt: little of a large model to be trained, and what becomes of it. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/adapt/energon.h"
#include "cli/adapt/goal.h"
#include "cli/adapt/heads.h"
#include "cli/adapt/skim.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/train/command.h"
#include "spry/adapt.h"

enum { MOST_TARGETS = 64 };

static const char *const method_choices[] = {"lora",        "adapter", "bias",   "prompt",
                                             "head",        "full",    "lasnet", "block-skim",
                                             "head-policy", "energon", NULL};

static const cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "where the result goes: .onnx, or .safetensors with --delta-only"},
    {.name = "method",
     .letter = 'm',
     .kind = CLI_CHOICE,
     .value = "NAME",
     .fallback = "lora",
     .choices = method_choices,
     .help = "what is trained besides the classifier"},
    {.name = "rank",
     .letter = 'r',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "8",
     .lowest = 1,
     .highest = 4096,
     .help = "inner width of lora and adapter"},
    {.name = "alpha",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "16",
     .lowest = 1e-6,
     .highest = 1e6,
     .help = "lora: products count X / rank times"},
    {.name = "target",
     .kind = CLI_TEXT,
     .value = "WHAT",
     .help = "lora: q, k, v, o, mlp, linear, conv, or names of operators with * and ?; q and v "
             "when nothing is said. lasnet: the share of the work that is to be left, 0.5 when "
             "nothing is said",
     .repeats = true},
    {.name = "granularity",
     .kind = CLI_TEXT,
     .value = "S-S-S-S",
     .help = "lasnet: sides of mask cells in pixels of the block's map, by stage; the last counts "
             "for further stages; 4-4-2-1 when nothing is said"},
    {.name = "masker-bias",
     .kind = CLI_NUMBER,
     .value = "X",
     .fallback = "0",
     .lowest = 0,
     .highest = 1000,
     .help = "lasnet: by how much maskers prefer to keep at first, 0 for 5 (10 in front of grouped "
             "convolutions)"},
    ADAPT_GOAL_OPTIONS,
    ADAPT_SKIM_OPTIONS,
    ADAPT_HEADS_OPTIONS,
    ADAPT_ENERGON_OPTIONS,
    {.name = "prompts",
     .letter = 'p',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "10",
     .lowest = 0,
     .highest = 4096,
     .help = "prompt: learnt tokens per block"},
    {.name = "shallow", .kind = CLI_FLAG, .help = "prompt: before the first block only"},
    {.name = "classes",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1048576,
     .help = "a new classifier of N classes; 0 keeps the one there is"},
    {.name = "zero-head", .kind = CLI_FLAG, .help = "the new classifier starts at zero"},
    {.name = "apply",
     .kind = CLI_PATH,
     .value = "DELTA",
     .help = "put what was trained, from a file of --delta-only, into its base MODEL"},
    {.name = "merge", .kind = CLI_FLAG, .help = "add lora's products to the weights beside them"},
    {.name = "delta-only",
     .kind = CLI_FLAG,
     .help = "write the trained tensors alone, as safetensors"},
    {.name = "list", .kind = CLI_FLAG, .help = "name the trained tensors"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace an existing FILE"},
    {0},
};

typedef struct adapt_state {
    const cli_call *call;
    const char *targets[MOST_TARGETS];
    spry_model *source, *made, *merged;
    spry_adaptation *facts;
    train_setup setup; /* where there is data to train on */
    train_outcome outcome;
    adapt_goal goal;
    adapt_skim skim;
    spry_model *chosen; /* with thresholds */
    bool is_plain;      /* merged, and nothing is left of the method */
} adapt_state;

/* Is it to be trained as well? */
static bool is_training(const cli_call *call)
{
    return cli_given(call, "data");
}

/* ---- what is asked for ---- */

static bool ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name);
    size_t tail = strlen(ending);

    return length >= tail && strcmp(name + length - tail, ending) == 0;
}

static spry_status check_usage(const cli_call *call, spry_error *error)
{
    static const char *const of_method[] = {"method",  "rank",    "alpha",     "target",
                                            "prompts", "shallow", "zero-head", "classes"};
    const char *output = cli_text(call, "output");
    bool is_delta = cli_given(call, "delta-only");

    if (output == NULL) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o adapted.onnx",
                         "no place for the result given");
    }
    if (is_delta && cli_given(call, "merge")) {
        return spry_fail(error, SPRY_USAGE, "--merge", "use one of them",
                         "a delta holds the tensors that --merge does away with");
    }
    if (is_delta != ends_with(output, ".safetensors")) {
        return spry_fail(error, SPRY_USAGE, output,
                         is_delta ? "name it .safetensors"
                                  : "name it .onnx, or ask for --delta-only",
                         "the name does not fit what is written");
    }
    for (size_t i = 0; cli_given(call, "apply") && i < sizeof of_method / sizeof of_method[0];
         i++) {
        if (cli_given(call, of_method[i])) {
            return spry_fail(error, SPRY_USAGE, "--apply", "leave the other option out",
                             "the delta says itself how the model is adapted: --%s has no say",
                             of_method[i]);
        }
    }
    if (cli_given(call, "only")) {
        return spry_fail(error, SPRY_USAGE, "--only", "use --freeze, or spry train",
                         "the method says what is trained");
    }
    return output_check_free(call, output, error);
}

static spry_status read_options(adapt_state *a, spry_adapt_options *o, spry_error *error)
{
    const cli_call *call = a->call;
    const char *target;

    *o = spry_adapt_options_default();
    o->method = cli_text(call, "method");
    o->rank = (int32_t)cli_integer(call, "rank");
    o->alpha = cli_number(call, "alpha");
    o->prompts = (int32_t)cli_integer(call, "prompts");
    o->shallow = cli_given(call, "shallow");
    o->granularity = cli_text(call, "granularity");
    o->masker_bias = cli_number(call, "masker-bias");
    o->block = (int32_t)cli_integer(call, "block");
    o->classes = cli_integer(call, "classes");
    o->zero_head = cli_given(call, "zero-head");
    o->seed = (uint64_t)cli_integer(call, "seed");
    o->targets = a->targets;
    if (strcmp(o->method, "lasnet") == 0) {
        return SPRY_OK; /* there the target is a number */
    }
    while ((target = cli_value(call, "target", o->target_count)) != NULL) {
        if (o->target_count == MOST_TARGETS) {
            return spry_fail(error, SPRY_USAGE, "--target", NULL, "given more than %d times",
                             (int)MOST_TARGETS);
        }
        a->targets[o->target_count++] = target;
    }
    return SPRY_OK;
}

/* ---- the steps ---- */

/* The adapted model and its facts: of the file, of a delta, or made now. */
static spry_status make(adapt_state *a, spry_error *error)
{
    const char *delta = cli_text(a->call, "apply");
    bool takes_adapted = cli_given(a->call, "merge") || cli_given(a->call, "delta-only") ||
                         cli_given(a->call, "calibrate") || is_training(a->call);
    spry_adapt_options o;
    spry_status status;

    if (delta != NULL) {
        return spry_adapt_apply_delta(a->source, delta, &a->made, &a->facts, error);
    }
    if (takes_adapted && spry_adaptation_of(a->source, &a->facts, NULL) == SPRY_OK) {
        return SPRY_OK;
    }
    status = read_options(a, &o, error);
    return status == SPRY_OK ? spry_adapt(a->source, &o, &a->made, &a->facts, error) : status;
}

static bool has_masks(const adapt_state *a)
{
    return strcmp(spry_adaptation_method(a->facts), "lasnet") == 0;
}

static bool skips_blocks(const adapt_state *a)
{
    return strcmp(spry_adaptation_method(a->facts), "block-skim") == 0;
}

/* Freezes what the method does not train. Factors that were asked for come before, since a rule for
 * a name makes it trained; what is frozen comes once more behind. */
static spry_status add_rules(adapt_state *a, spry_error *error)
{
    spry_train_options *o = &a->setup.options;
    const char *const *names = NULL;
    int32_t names_count = spry_adaptation_trainable(a->facts, &names);
    size_t most = (size_t)names_count + 2 * (size_t)o->rule_count + 1;
    spry_train_rule *rules = arena_array(&a->setup.memory, most, sizeof *rules);
    int32_t count = 0;

    if (rules == NULL) {
        return alloc_failed(error, most * sizeof *rules);
    }
    for (int32_t i = 0; i < o->rule_count; i++) {
        rules[count++] = o->rules[i];
    }
    rules[count++] = (spry_train_rule){"*", true, -1.0, -1.0};
    for (int32_t i = 0; i < names_count; i++) {
        rules[count++] = (spry_train_rule){
            names[i], false, has_masks(a) ? adapt_goal_rate(a->call, names[i]) : -1.0, -1.0};
    }
    for (int32_t i = 0; i < o->rule_count; i++) {
        if (o->rules[i].is_frozen) {
            rules[count++] = o->rules[i];
        }
    }
    o->rules = rules;
    o->rule_count = count;
    return SPRY_OK;
}

/* Questions are read by the vocabulary, when the method is known. */
static spry_status open_skim(adapt_state *a, spry_error *error)
{
    return skips_blocks(a)
               ? adapt_skim_open(&a->skim, a->call, is_training(a->call) ? &a->setup : NULL, error)
               : SPRY_OK;
}

static spry_status train(adapt_state *a, spry_error *error)
{
    const spry_model *made = a->made != NULL ? a->made : a->source;
    spry_status status;

    if (!is_training(a->call)) {
        return SPRY_OK;
    }
    if (a->setup.options.data == NULL) {
        return spry_fail(error, SPRY_USAGE, cli_text(a->call, "data"), "use --method block-skim",
                         "the method %s does not learn from questions",
                         spry_adaptation_method(a->facts));
    }
    if (strcmp(spry_adaptation_method(a->facts), "full") != 0 && !skips_blocks(a)) {
        a->setup.options.freeze_statistics = true;
    }
    a->outcome =
        (train_outcome){.model = a->call->arguments[0], .output = cli_text(a->call, "output")};
    status = add_rules(a, error);
    if (status == SPRY_OK && has_masks(a)) {
        status = adapt_goal_open(&a->goal, made, a->source, &a->setup, error);
    }
    if (status == SPRY_OK && skips_blocks(a)) {
        status = adapt_skim_goal(&a->skim, made, &a->setup, error);
    }
    return status == SPRY_OK ? train_perform(made, &a->setup, &a->outcome, error) : status;
}

/* The last of what the steps have made. */
static const spry_model *result_of(const adapt_state *a)
{
    return a->chosen != NULL            ? a->chosen
           : a->outcome.trained != NULL ? a->outcome.trained
           : a->made != NULL            ? a->made
                                        : a->source;
}

static spry_status choose(adapt_state *a, spry_error *error)
{
    return skips_blocks(a)
               ? adapt_skim_choose(&a->skim, result_of(a), a->setup.options.data, &a->chosen, error)
               : SPRY_OK;
}

static spry_status save(adapt_state *a, spry_error *error)
{
    const char *output = cli_text(a->call, "output");
    const spry_model *made = result_of(a);
    spry_status status = SPRY_OK;

    if (cli_given(a->call, "delta-only")) {
        return spry_adapt_save_delta(made, output, error);
    }
    if (cli_given(a->call, "merge")) {
        status = spry_adapt_merge(made, &a->merged, &a->is_plain, error);
        made = a->merged;
    }
    return status == SPRY_OK ? spry_model_save(made, output, error) : status;
}

/* ---- telling ---- */

static void print_text(const adapt_state *a)
{
    FILE *to = a->call->out;
    const char *const *names = NULL;
    const char *const *labels = NULL;
    int32_t count = spry_adaptation_trainable(a->facts, &names);
    int64_t trainable;
    int64_t total;

    spry_adaptation_counts(a->facts, &trainable, &total);
    (void)fprintf(to, "method      %s\n", spry_adaptation_method(a->facts));
    (void)fprintf(to, "trained     %" PRId64 " of %" PRId64 " parameters (%.2f %%)\n", trainable,
                  total, total > 0 ? 100.0 * (double)trainable / (double)total : 0.0);
    (void)fprintf(to, "tensors     %d, of %d operators\n", (int)count,
                  (int)spry_adaptation_nodes(a->facts, &labels));
    (void)fprintf(to, "base        %s\n", spry_adaptation_base_hash(a->facts));
    (void)fprintf(to, "written     %s\n", cli_text(a->call, "output"));
    for (int32_t i = 0; cli_given(a->call, "list") && i < count; i++) {
        (void)fprintf(to, "%s\n", names[i]);
    }
    adapt_skim_print(&a->skim);
}

static void write_list(json_writer *json, const char *key, int32_t count, const char *const *list)
{
    json_write_array(json, key);
    for (int32_t i = 0; i < count; i++) {
        json_write_string(json, NULL, list[i]);
    }
    json_write_end(json);
}

static spry_status print_json(const adapt_state *a, spry_error *error)
{
    const output_record record = {.model = a->call->arguments[0],
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(a->call, "seed")};
    const spry_adapt_options *o = spry_adaptation_options(a->facts);
    const char *const *list = NULL;
    int64_t trainable;
    int64_t total;
    output_document document;
    json_writer *json = &document.json;
    int32_t count;

    output_begin(&document, a->call);
    spry_adaptation_counts(a->facts, &trainable, &total);
    json_write_string(json, "output", cli_text(a->call, "output"));
    json_write_string(json, "method", o->method);
    json_write_i64(json, "rank", o->rank);
    json_write_f64(json, "alpha", o->alpha);
    json_write_i64(json, "prompts", o->prompts);
    json_write_bool(json, "shallow", o->shallow);
    json_write_i64(json, "classes", o->classes);
    json_write_string(json, "base", spry_adaptation_base_hash(a->facts));
    json_write_i64(json, "trainable", trainable);
    json_write_i64(json, "total", total);
    count = spry_adaptation_trainable(a->facts, &list);
    write_list(json, "tensors", count, list);
    count = spry_adaptation_nodes(a->facts, &list);
    write_list(json, "operators", count, list);
    if (skips_blocks(a)) {
        adapt_skim_write(&a->skim, json);
    }
    if (output_write_record(json, &record, error) != SPRY_OK) {
        output_drop(&document);
        return SPRY_IO;
    }
    return output_end(&document, a->call, error);
}

static spry_status tell(adapt_state *a, spry_error *error)
{
    if (cli_given(a->call, "merge") && !a->is_plain) {
        output_note(a->call, "what %s adds stays in the graph: it cannot be merged into weights",
                    spry_adaptation_method(a->facts));
    }
    if (is_training(a->call)) {
        spry_status status = train_tell(&a->outcome, error);

        if (status != SPRY_OK || cli_given(a->call, "json")) {
            return status;
        }
    } else if (cli_given(a->call, "json")) {
        return print_json(a, error);
    }
    print_text(a);
    return SPRY_OK;
}

static spry_status perform(const cli_call *call, spry_error *error)
{
    static spry_status (*const steps[])(adapt_state *, spry_error *) = {make,   open_skim, train,
                                                                        choose, save,      tell};
    adapt_state a = {.call = call};
    spry_status status;

    if (strcmp(cli_text(call, "method"), "head-policy") == 0) {
        return adapt_heads(call, error);
    }
    if (strcmp(cli_text(call, "method"), "energon") == 0) {
        return adapt_energon(call, error);
    }
    status = check_usage(call, error);

    if (status == SPRY_OK && is_training(call)) {
        status = train_setup_open(&a.setup, call, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, call->arguments[0], &a.source, error);
    }
    for (size_t i = 0; status == SPRY_OK && i < sizeof steps / sizeof steps[0]; i++) {
        status = steps[i](&a, error);
    }
    spry_adaptation_destroy(a.facts);
    spry_model_destroy(a.merged);
    spry_model_destroy(a.chosen);
    train_outcome_close(&a.outcome);
    adapt_goal_close(&a.goal);
    adapt_skim_close(&a.skim);
    spry_model_destroy(a.made);
    spry_model_destroy(a.source);
    if (a.setup.call != NULL) {
        train_setup_close(&a.setup);
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    return train_run(call, perform, error);
}

const cli_command cmd_adapt = {
    .name = "adapt",
    .summary = "make a model trainable in few of its parameters",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry adapt vit_s16.onnx -o mine.onnx --method lora --classes 37 --data "
                 "folder:flowers --preprocess imagenet --optimizer adamw --epochs 5",
                 "spry adapt mine.onnx -o delta.safetensors --delta-only",
                 "spry adapt vit_s16.onnx -o again.onnx --apply delta.safetensors --merge"},
    .description =
        "Rewrites a model so that training needs to touch little of it, and says which tensors "
        "those are: products of small rank beside weights (lora), a bottleneck after each MLP "
        "(adapter), all biases (bias), learnt tokens before each block (prompt), or the "
        "classifier alone (head), which is trained with every method. The result is a standard "
        "ONNX model that remembers in its metadata how it was made. lora and adapter start as "
        "exactly the model that they are made of.\n\n"
        "With --data it is trained at once, those tensors and nothing else, with the options of "
        "spry train; batch norms then keep their statistics, unless the method is full. An "
        "adapted model is trained on.\n\n"
        "Attention, MLPs and the classifier are found by what operators compute. Where a model "
        "lacks what a method builds on, the error says what was looked for.\n\n"
        "What was trained travels as a delta, a small file for the base model with the same hash; "
        "--apply puts it in place, and --merge adds lora's products to the weights, after which "
        "the model has the operators of its base again.",
    .options = options,
    .shared = train_option_table,
    .shared_title = "Options of training",
    .run = run,
};
