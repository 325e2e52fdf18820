/* spry quantize: a smaller, faster model, and what it costs. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/quantize_report.h"
#include "spry/bench.h"
#include "spry/evaluate.h"

enum { TURNS = 7, MOST_EXCLUDED = 256 };

static const double SECONDS_PER_TURN = 0.1;

static const char *const stage_choices[] = {"e", "ek", "ec", "ekc", NULL};

static const cli_option options[] = {
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
     .help = "how weights are rounded: squant or nearest"},
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
     .help = "bits of an activation: 8, or 0 to keep them f32"},
    {.name = "calibrate",
     .letter = 'c',
     .kind = CLI_TEXT,
     .value = "KIND:PATH",
     .help = "samples on which activations are measured: cifar10, idx, folder, labels or npz"},
    {.name = "preprocess",
     .kind = CLI_TEXT,
     .value = "RECIPE",
     .fallback = "raw",
     .help = "how pictures become inputs: raw, unit, imagenet, cifar, tf, tf128, or a .json file"},
    {.name = "samples",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "128",
     .lowest = 0,
     .highest = 9007199254740992.0,
     .help = "samples of --calibrate to use, 0 for all"},
    {.name = "stages",
     .kind = CLI_CHOICE,
     .value = "STAGES",
     .fallback = "ekc",
     .choices = stage_choices,
     .help = "squant: which sums of errors are bounded, of kernels (k) and output channels (c)"},
    {.name = "group",
     .letter = 'g',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 65536,
     .help = "inputs of a matrix that share a step: 16, 32, 64, ..., or 0 for all"},
    {.name = "format",
     .kind = CLI_TEXT,
     .value = "NAME",
     .fallback = "qdq",
     .help = "what the file says: qdq, qoperator or matmulnbits"},
    {.name = "symmetric",
     .kind = CLI_FLAG,
     .help = "weights without a zero point; always so with --activation-bits"},
    {.name = "exclude",
     .kind = CLI_TEXT,
     .value = "NODE",
     .repeats = true,
     .help = "an operator that stays f32: its name, or a label such as \"Conv #3\""},
    {.name = "data",
     .letter = 'd',
     .kind = CLI_TEXT,
     .value = "KIND:PATH",
     .help = "labelled samples on which both models are evaluated at the end"},
    {.name = "class-offset",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = -1000000,
     .highest = 1000000,
     .help = "class c of --data is score c + N"},
    {.name = "limit",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 9007199254740992.0,
     .help = "samples of --data to use, 0 for all"},
    {.name = "max-drop",
     .kind = CLI_NUMBER,
     .value = "POINTS",
     .lowest = 0,
     .highest = 100,
     .help = "exit with 1 when top-1 on --data falls by more percentage points"},
    {.name = "no-bench", .kind = CLI_FLAG, .help = "do not measure latency before and after"},
    {.name = "report", .kind = CLI_PATH, .value = "FILE", .help = "write the report as JSON"},
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

typedef struct quantize_state {
    const cli_call *call;
    spry_quantize_options options;
    spry_preprocess recipe;
    const char *excluded[MOST_EXCLUDED];
    spry_model *source;
    spry_model *made;
    spry_quantization *facts;
    spry_dataset *data; /* of --data */
    quantize_result result;
} quantize_state;

/* ---- what is asked for ---- */

static spry_status read_options(quantize_state *q, spry_error *error)
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
    o->stages = cli_text(call, "stages");
    /* Integer convolutions add no products of zero points when weights have none. */
    o->symmetric = cli_given(call, "symmetric") || o->activation_bits != 0;
    o->recipe = &q->recipe;
    o->samples = cli_integer(call, "samples");
    o->threads = (int)cli_integer(call, "threads");
    o->exclude = q->excluded;
    while (o->exclude_count < MOST_EXCLUDED &&
           (name = cli_value(call, "exclude", o->exclude_count)) != NULL) {
        q->excluded[o->exclude_count++] = name;
    }
    if (status == SPRY_OK && cli_text(call, "calibrate") != NULL) {
        status = spry_dataset_open(NULL, cli_text(call, "calibrate"), &o->calibration, error);
    }
    if (status == SPRY_OK && cli_text(call, "data") != NULL) {
        status = spry_dataset_open(NULL, cli_text(call, "data"), &q->data, error);
    }
    return status;
}

static spry_status check_usage(const quantize_state *q, spry_error *error)
{
    const cli_call *call = q->call;
    const char *output = cli_text(call, "output");
    const char *report = cli_text(call, "report");
    spry_status status;

    if (output == NULL) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o small.onnx",
                         "no place for the result given");
    }
    if (cli_given(call, "max-drop") && cli_text(call, "data") == NULL) {
        return spry_fail(error, SPRY_USAGE, "--max-drop", "give labelled samples with --data",
                         "accuracy cannot be measured without data");
    }
    status = output_check_free(call, output, error);
    return status == SPRY_OK && report != NULL ? output_check_free(call, report, error) : status;
}

/* ---- before and after ---- */

typedef struct rival {
    spry_model *model;
    spry_session *session;
    spry_feed *feed;
} rival;

static void close_rival(rival *r)
{
    spry_feed_destroy(r->feed);
    spry_session_destroy(r->session);
    spry_model_destroy(r->model);
}

/* From the file, as the next user will. */
static spry_status open_rival(const quantize_state *q, const char *path, rival *r,
                              spry_error *error)
{
    spry_session_options session = spry_session_options_default();
    spry_status status = spry_model_load(NULL, path, &r->model, error);

    session.threads = q->options.threads;
    if (status == SPRY_OK) {
        status = spry_session_create(r->model, &session, &r->session, error);
    }
    return status;
}

static spry_status feed_rival(rival *r, spry_error *error)
{
    spry_status status = spry_feed_create(NULL, r->model, &r->feed, error);

    return status == SPRY_OK ? spry_feed_fill_random(r->feed, 0, error) : status;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *numbers, int count)
{
    qsort(numbers, (size_t)count, sizeof *numbers, compare_numbers);
    return numbers[count / 2];
}

/* Both take turns, so that a drift of the machine's speed meets both. */
static spry_status race(quantize_state *q, rival *before, rival *after, spry_error *error)
{
    spry_bench_options bench = spry_bench_options_default();
    double times[2][TURNS];
    double ratios[TURNS];
    spry_status status = feed_rival(before, error);

    if (status == SPRY_OK) {
        status = feed_rival(after, error);
    }
    bench.warmup = 1;
    bench.seconds = SECONDS_PER_TURN;
    for (int i = 0; status == SPRY_OK && i < TURNS; i++) {
        spry_bench_result result[2];

        status = spry_bench_session(before->session, before->feed, &bench, &result[0], error);
        if (status == SPRY_OK) {
            status = spry_bench_session(after->session, after->feed, &bench, &result[1], error);
        }
        if (status == SPRY_OK) {
            times[0][i] = result[0].median_ms;
            times[1][i] = result[1].median_ms;
            ratios[i] = times[0][i] / times[1][i];
        }
    }
    if (status == SPRY_OK) {
        q->result.before.median_ms = median(times[0], TURNS);
        q->result.after.median_ms = median(times[1], TURNS);
        q->result.speed_up = median(ratios, TURNS);
    }
    return status;
}

static spry_status evaluate(quantize_state *q, const rival *r, double *top1, spry_error *error)
{
    spry_evaluate_options asked = spry_evaluate_options_default();
    spry_evaluation *evaluation = NULL;
    progress_bar bar;
    spry_status status;

    progress_bar_begin(&bar, q->call);
    asked.recipe = &q->recipe;
    asked.limit = cli_integer(q->call, "limit");
    asked.class_offset = cli_integer(q->call, "class-offset");
    asked.progress = &bar.hook;
    status = spry_evaluate(r->model, r->session, q->data, &asked, &evaluation, error);
    progress_bar_end(&bar);
    if (status == SPRY_OK) {
        *top1 = spry_evaluation_totals(evaluation)->top1;
    }
    spry_evaluation_destroy(evaluation);
    return status;
}

static int64_t file_bytes(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? (int64_t)status.st_size : 0;
}

static spry_status compare_sides(quantize_state *q, spry_error *error)
{
    quantize_result *r = &q->result;
    rival before = {0};
    rival after = {0};
    spry_status status = open_rival(q, r->source, &before, error);

    r->before.bytes = file_bytes(r->source);
    r->after.bytes = file_bytes(r->output);
    if (status == SPRY_OK) {
        status = open_rival(q, r->output, &after, error);
    }
    if (status == SPRY_OK && !cli_given(q->call, "no-bench")) {
        status = race(q, &before, &after, error);
    }
    if (status == SPRY_OK && q->data != NULL) {
        status = evaluate(q, &before, &r->before.top1, error);
    }
    if (status == SPRY_OK && q->data != NULL) {
        status = evaluate(q, &after, &r->after.top1, error);
    }
    close_rival(&before);
    close_rival(&after);
    return status;
}

/* ---- the command ---- */

static spry_status make(quantize_state *q, spry_error *error)
{
    progress_bar bar;
    int64_t begun;
    spry_status status = spry_model_load(NULL, q->call->arguments[0], &q->source, error);

    if (status != SPRY_OK) {
        return status;
    }
    begun = clock_ns();
    progress_bar_begin(&bar, q->call);
    q->options.progress = &bar.hook;
    status = spry_quantize(q->source, &q->options, &q->made, &q->facts, error);
    progress_bar_end(&bar);
    q->result.seconds = (double)(clock_ns() - begun) * 1e-9;
    return status == SPRY_OK ? spry_model_save(q->made, q->result.output, error) : status;
}

/* A model that is slower, or too much worse, is no success. */
static spry_status judge(const quantize_state *q)
{
    const quantize_result *r = &q->result;
    double drop = 100.0 * (r->before.top1 - r->after.top1);
    spry_status status = SPRY_OK;

    if (q->options.activation_bits != 0 && r->speed_up > 0.0 && r->speed_up < 1.0) {
        output_warn(q->call, "the quantized model is slower on this machine: %.2f x", r->speed_up);
        status = SPRY_NEGATIVE;
    }
    if (cli_given(q->call, "max-drop") && drop > cli_number(q->call, "max-drop")) {
        output_warn(q->call, "top-1 falls by %.2f points, more than %s", drop,
                    cli_text(q->call, "max-drop"));
        status = SPRY_NEGATIVE;
    }
    return status;
}

static spry_status tell(quantize_state *q, spry_error *error)
{
    const char *path = cli_text(q->call, "report");
    spry_status status = SPRY_OK;

    q->result.facts = q->facts;
    if (path != NULL) {
        status = quantize_report_file(q->call, &q->result, path, error);
    }
    if (status == SPRY_OK) {
        status = cli_given(q->call, "json") ? quantize_report_json(q->call, &q->result, error)
                                            : quantize_report_text(q->call, &q->result, error);
    }
    return status == SPRY_OK ? judge(q) : status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    quantize_state q = {.call = call};
    spry_status status;

    q.result = (quantize_result){.source = call->arguments[0],
                                 .output = cli_text(call, "output"),
                                 .options = &q.options,
                                 .before = {.top1 = -1.0},
                                 .after = {.top1 = -1.0}};
    status = check_usage(&q, error);
    if (status == SPRY_OK) {
        status = read_options(&q, error);
    }
    if (status == SPRY_OK) {
        status = make(&q, error);
    }
    if (status == SPRY_OK) {
        status = compare_sides(&q, error);
    }
    if (status == SPRY_OK) {
        status = tell(&q, error);
    }
    spry_quantization_destroy(q.facts);
    spry_model_destroy(q.made);
    spry_model_destroy(q.source);
    spry_dataset_close(q.data);
    spry_dataset_close(q.options.calibration);
    return status;
}

const cli_command cmd_quantize = {
    .name = "quantize",
    .summary = "make a model smaller and faster with small integers",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry quantize resnet20.onnx -o small.onnx --weight-bits 4",
                 "spry quantize resnet20.onnx -o fast.onnx --activation-bits 8 --calibrate "
                 "cifar10:train.bin --preprocess imagenet"},
    .description =
        "Rounds the weights of Conv, ConvTranspose, Gemm and MatMul to integers with a step per "
        "output channel and writes standard ONNX in QDQ form. The method squant needs no data: it "
        "turns some roundings round so that errors cancel within kernels and output channels. With "
        "--activation-bits 8 activations become integers too, on ranges measured on samples, and "
        "the model runs in integer arithmetic.\n\n"
        "Ends with the layers that suffer most, size, latency before and after on this machine, "
        "and accuracy where --data is given. Exits with 1 when an integer model is slower than the "
        "float one, or when accuracy falls by more than --max-drop.",
    .options = options,
    .run = run,
};
