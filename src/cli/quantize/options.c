/* Options of spry quantize. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/output.h"
#include "cli/quantize/command.h"
#include "cli/subject.h"

static const char *const stage_choices[] = {"e", "ek", "ec", "ekc", NULL};
static const char *const range_choices[] = {"minmax", "percentile", "mse", "entropy", NULL};

static const char *const reorder_choices[] = {"off", "sort", "search", "search-mse", "graph", NULL};

const cli_option quantize_option_table[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "where the quantized model goes"},
    {.name = "method",
     .letter = 'm',
     .kind = CLI_TEXT,
     .value = "NAME",
     .fallback = "squant",
     .help = "how weights are rounded: squant, nearest, adaround, ptq-sl or ptq4vit"},
    {.name = "weight-bits",
     .letter = 'w',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "8",
     .lowest = 2,
     .highest = 8,
     .help = "bits of a weight"},
    {.name = "activation-bits",
     .letter = 'a',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 8,
     .help = "bits of an activation: 2 to 8, or 0 to keep them f32"},
    {.name = "calibrate",
     .letter = 'c',
     .kind = CLI_TEXT,
     .value = "KIND:PATH",
     .help = "samples on which activations are measured: cifar10, idx, folder, labels, npz, csv or "
             "safetensors; without them ranges follow from batch norms, and from noise by "
             "--preprocess"},
    {.name = "samples",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "128",
     .lowest = 0,
     .highest = 9007199254740992.0,
     .help = "samples of --calibrate to use, 0 for all"},
    {.name = "range",
     .kind = CLI_CHOICE,
     .value = "HOW",
     .fallback = "mse",
     .choices = range_choices,
     .help = "ranges of activations: all that samples hold, or clamped for the least error"},
    {.name = "stages",
     .kind = CLI_CHOICE,
     .value = "STAGES",
     .fallback = "ekc",
     .choices = stage_choices,
     .help = "squant: which sums of errors are bounded, of kernels (k) and output channels (c)"},
    {.name = "metric",
     .kind = CLI_TEXT,
     .value = "NAME",
     .help = "errors that a search minimises: l2 (ptq-sl's default), cosine, weight (ptq-sl), or "
             "squared errors by importance: fisher (ptq4vit's default), label, perturb"},
    {.name = "twin",
     .kind = CLI_TEXT,
     .value = "WHERE",
     .fallback = "pow2",
     .help = "ptq4vit: two ranges behind softmax, gelu, both (pow2, free) or nowhere (off)"},
    {.name = "grids",
     .kind = CLI_TEXT,
     .value = "KIND",
     .fallback = "best",
     .help = "ptq4vit: other activations are symmetric, affine, or what fits best"},
    {.name = "units",
     .kind = CLI_TEXT,
     .value = "UNIT",
     .fallback = "channel",
     .help = "ptq4vit: weights that share a step: channel or tensor"},
    {.name = "rounds",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1000,
     .help = "rounds of a search at most: over all blocks (ptq-sl), over steps of weights and of "
             "activations (ptq4vit); 0 for the method's own"},
    {.name = "group",
     .letter = 'g',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 65536,
     .help = "inputs of a matrix that share a step: 16, 32, 64, ..., or 0 for all"},
    {.name = "block-size",
     .kind = CLI_TEXT,
     .value = "RxC",
     .help = "ptq-sl: output x input channels that share a step, 8x64 unless told; 0 is all"},
    {.name = "blocks",
     .kind = CLI_TEXT,
     .value = "VxH",
     .help = "ptq-sl, instead: how many blocks of output x input channels"},
    {.name = "reorder",
     .kind = CLI_CHOICE,
     .value = "EFFORT",
     .fallback = "off",
     .choices = reorder_choices,
     .help =
         "ptq-sl: channels of similar size into one block: per layer, or (graph) for all at once"},
    {.name = "format",
     .kind = CLI_TEXT,
     .value = "NAME",
     .fallback = "qdq",
     .help = "what the file says: qdq, qoperator or matmulnbits"},
    {.name = "prepare",
     .kind = CLI_TEXT,
     .value = "NAMES",
     .help = "rewrites of the float model before: equalise, repq, smooth, commas between several"},
    {.name = "bias-correction",
     .kind = CLI_FLAG,
     .help = "let biases take back what rounding does to means, by --calibrate"},
    {.name = "weighted",
     .kind = CLI_FLAG,
     .help = "squant: errors of output channels count by mean inputs, by --calibrate"},
    {.name = "symmetric",
     .kind = CLI_FLAG,
     .help = "weights without a zero point; always so with --activation-bits"},
    {.name = "exclude",
     .kind = CLI_TEXT,
     .value = "NODE",
     .repeats = true,
     .help = "an operator that stays f32: its name, or a label such as \"Conv #3\""},
    {.name = "bits",
     .letter = 'b',
     .kind = CLI_TEXT,
     .value = "NODE=W[/A]",
     .repeats = true,
     .help = "an operator with bits of its own: weights (0 keeps it f32) and activations"},
    {.name = "recipe",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "bits by name and type of operators, as JSON; --bits comes after it"},
    SUBJECT_DATA_OPTIONS,
    {.name = "requantize",
     .kind = CLI_FLAG,
     .help = "take a quantized model as float, with what its rounding has lost"},
    {.name = "keep-first-last",
     .kind = CLI_FLAG,
     .help = "the first and the last operator with weights stay f32"},
    {.name = "dry-run",
     .kind = CLI_FLAG,
     .help = "tell what would become of each layer, and write nothing"},
    {.name = "mixed",
     .kind = CLI_FLAG,
     .help = "choose bits per operator within --max-drop or --max-ms; activations get 8"},
    {.name = "max-ms",
     .kind = CLI_NUMBER,
     .value = "MS",
     .lowest = 1e-6,
     .highest = 1e9,
     .help = "choose bits per operator so that one run takes no longer; as --mixed"},
    {.name = "trials",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "24",
     .lowest = 1,
     .highest = 10000,
     .help = "whole models that --mixed tries, at most"},
    {.name = "sensitivity",
     .kind = CLI_FLAG,
     .help = "measure what every layer costs when it alone is quantized, on --calibrate"},
    {.name = "save-recipe",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write the bits that --mixed chose, for --recipe"},
    {.name = "max-drop",
     .kind = CLI_NUMBER,
     .value = "POINTS",
     .lowest = 0,
     .highest = 100,
     .help = "exit with 1 when top-1 on --data falls by more percentage points"},
    {.name = "no-bench", .kind = CLI_FLAG, .help = "do not measure latency before and after"},
    {.name = "report", .kind = CLI_PATH, .value = "FILE", .help = "write the report as JSON"},
    {.name = "html",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write the report as one page that opens without a network"},
    {.name = "compact",
     .kind = CLI_FLAG,
     .help = "the smallest file: without names of layers, and without what holds unsaid"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace existing files"},
    {.name = "threads",
     .letter = 't',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1024,
     .help = "threads to use, 0 for as many as the process may use"},
    {0},
};
/* ---- what is asked for ---- */

/* NODE=W or NODE=W/A. */
static spry_status read_bits(quantize_state *q, const char *said, spry_quantize_assignment *a,
                             spry_error *error)
{
    const char *equals = strrchr(said, '=');
    char *end = NULL;
    long bits[2] = {-1, SPRY_QUANTIZE_AS_ASKED};

    if (equals != NULL && isdigit((unsigned char)equals[1])) {
        bits[0] = strtol(equals + 1, &end, 10);
        if (*end == '/' && isdigit((unsigned char)end[1])) {
            bits[1] = strtol(end + 1, &end, 10);
        }
    }
    if (end == NULL || *end != '\0' || equals == said || bits[0] > 8 || bits[1] > 8) {
        return spry_fail(
            error, SPRY_USAGE, "--bits",
            "NODE=4 for weights of 4 bits, NODE=8/8 with activations of 8 bits, NODE=0 "
            "to keep it f32",
            "\"%s\" does not say which operator gets how many bits", said);
    }
    *a = (spry_quantize_assignment){
        .node = arena_text(&q->memory, said, (size_t)(equals - said)),
        .weight_bits = (int)bits[0],
        .activation_bits = (int)bits[1],
    };
    return a->node != NULL ? SPRY_OK : alloc_failed(error, strlen(said));
}

/* "8x64". */
static spry_status read_pair(const cli_call *call, const char *option, int64_t pair[2],
                             spry_error *error)
{
    const char *said = cli_text(call, option);
    char *end = NULL;

    if (said == NULL) {
        return SPRY_OK;
    }
    if (isdigit((unsigned char)said[0])) {
        pair[0] = strtol(said, &end, 10);
    }
    if (end != NULL && *end == 'x' && isdigit((unsigned char)end[1])) {
        pair[1] = strtol(end + 1, &end, 10);
        if (*end == '\0' && pair[0] <= INT32_MAX && pair[1] <= INT32_MAX) {
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, option, "two numbers, for example 8x64",
                     "\"%s\" is no number of outputs x inputs", said);
}

static spry_status read_blocks(const cli_call *call, spry_quantize_options *o, spry_error *error)
{
    int64_t size[2] = {o->block_outputs, o->block_inputs};
    int64_t count[2] = {0, 0};
    spry_status status = read_pair(call, "block-size", size, error);

    if (status == SPRY_OK) {
        status = read_pair(call, "blocks", count, error);
    }
    if (status == SPRY_OK && cli_text(call, "blocks") != NULL &&
        cli_text(call, "block-size") != NULL) {
        status = spry_fail(error, SPRY_USAGE, "blocks", "give one of the two",
                           "both a size and a number of blocks");
    }
    o->block_outputs = size[0];
    o->block_inputs = size[1];
    o->blocks_down = count[0];
    o->blocks_across = count[1];
    o->reorder = cli_text(call, "reorder");
    return status;
}

/* The recipe's rules, then what --bits says. */
static spry_status read_assignments(quantize_state *q, spry_error *error)
{
    const char *path = cli_text(q->call, "recipe");
    const spry_quantize_assignment *rules = NULL;
    spry_quantize_assignment *all;
    const char *said;
    int32_t count = 0;
    int bits = 0;
    spry_status status = SPRY_OK;

    if (path != NULL) {
        status = spry_quantize_recipe_load(NULL, path, &q->rules, error);
        count = status == SPRY_OK ? spry_quantize_recipe_rules(q->rules, &rules) : 0;
    }
    all = arena_array(&q->memory, (size_t)count + CLI_MOST_VALUES, sizeof *all);
    if (all == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *all);
    }
    for (int32_t i = 0; i < count; i++) {
        all[i] = rules[i];
    }
    while (status == SPRY_OK && (said = cli_value(q->call, "bits", bits++)) != NULL) {
        status = read_bits(q, said, &all[count++], error);
    }
    q->options.assignments = all;
    q->options.assignment_count = count;
    return status;
}

static bool any_activations(const spry_quantize_options *o)
{
    bool any = o->activation_bits != 0;

    for (int32_t i = 0; i < o->assignment_count; i++) {
        any = any || o->assignments[i].activation_bits > 0;
    }
    return any;
}

spry_status quantize_read_options(quantize_state *q, spry_error *error)
{
    const cli_call *call = q->call;
    spry_quantize_options *o = &q->options;
    const char *name;
    spry_status status = spry_preprocess_parse(cli_text(call, "preprocess"), &q->recipe, error);

    *o = spry_quantize_options_default();
    o->method = cli_text(call, "method");
    o->weight_bits = (int)cli_integer(call, "weight-bits");
    o->group = cli_integer(call, "group");
    o->format = cli_text(call, "format");
    o->activation_bits = (int)cli_integer(call, "activation-bits");
    if (quantize_is_mixed(call)) { /* f32, 8 bits or --weight-bits: the search says who gets what */
        o->weight_bits = 8;
        o->activation_bits = cli_given(call, "activation-bits") ? o->activation_bits : 8;
    }
    o->metric = cli_text(call, "metric");
    o->twin = cli_text(call, "twin");
    o->grids = cli_text(call, "grids");
    o->units = cli_text(call, "units");
    o->rounds = (int)cli_integer(call, "rounds");
    o->stages = cli_text(call, "stages");
    o->range = cli_text(call, "range");
    o->prepare = cli_text(call, "prepare");
    o->bias_correction = cli_given(call, "bias-correction");
    o->weighted = cli_given(call, "weighted");
    o->requantize = cli_given(call, "requantize");
    o->keep_first_last = cli_given(call, "keep-first-last");
    o->recipe = &q->recipe;
    o->samples = cli_integer(call, "samples");
    o->threads = (int)cli_integer(call, "threads");
    o->exclude = q->excluded;
    while (o->exclude_count < QUANTIZE_MOST_EXCLUDED &&
           (name = cli_value(call, "exclude", o->exclude_count)) != NULL) {
        q->excluded[o->exclude_count++] = name;
    }
    if (status == SPRY_OK) {
        status = read_assignments(q, error);
    }
    if (status == SPRY_OK) {
        status = read_blocks(call, o, error);
    }
    /* Integer convolutions add no products of zero points when weights have none. */
    o->symmetric = cli_given(call, "symmetric") || any_activations(o);
    if (status == SPRY_OK && cli_text(call, "calibrate") != NULL) {
        status = spry_dataset_open(NULL, cli_text(call, "calibrate"), &o->calibration, error);
    }
    if (status == SPRY_OK && cli_text(call, "data") != NULL) {
        status = spry_dataset_open(NULL, cli_text(call, "data"), &q->data, error);
    }
    return status;
}

static spry_status check_combination(const cli_call *call, spry_error *error)
{
    bool has_data = cli_text(call, "data") != NULL;
    bool has_samples = cli_text(call, "calibrate") != NULL;
    bool is_bounded = cli_given(call, "max-drop") || cli_given(call, "max-ms");

    if (cli_given(call, "max-drop") && !has_data) {
        return spry_fail(error, SPRY_USAGE, "--max-drop", "give labelled samples with --data",
                         "accuracy cannot be measured without data");
    }
    if (quantize_is_mixed(call) && !is_bounded) {
        return spry_fail(error, SPRY_USAGE, "--mixed", "--max-drop POINTS or --max-ms MS",
                         "without a bound there is nothing to choose");
    }
    if ((quantize_is_mixed(call) || cli_given(call, "sensitivity")) && !has_samples) {
        return spry_fail(error, SPRY_USAGE, quantize_is_mixed(call) ? "--mixed" : "--sensitivity",
                         "for example --calibrate cifar10:train.bin",
                         "what layers cost is measured on samples; none are given");
    }
    if (cli_given(call, "save-recipe") && !quantize_is_mixed(call)) {
        return spry_fail(error, SPRY_USAGE, "--save-recipe", "add --mixed",
                         "no bits are searched for that could be written");
    }
    return SPRY_OK;
}

spry_status quantize_check_usage(const quantize_state *q, spry_error *error)
{
    static const char *const files[] = {"output", "report", "html", "save-recipe"};
    const cli_call *call = q->call;
    spry_status status;

    if (cli_text(call, "output") == NULL && !cli_given(call, "dry-run")) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o small.onnx",
                         "no place for the result given");
    }
    status = check_combination(call, error);
    for (size_t i = 0; status == SPRY_OK && i < sizeof files / sizeof files[0]; i++) {
        if (cli_text(call, files[i]) != NULL) {
            status = output_check_free(call, cli_text(call, files[i]), error);
        }
    }
    return status;
}
