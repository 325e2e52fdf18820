/* spry evaluate: how often a classifier is right on labelled data; text is told in
 * evaluate_text.c. */
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/evaluate_text.h"
#include "cli/labels.h"
#include "cli/mask_report.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/subject.h"
#include "cli/table.h"
#include "spry/evaluate.h"
#include "spry/tensor_file.h"

enum { WORST_CLASSES = 10 };

static const cli_option options[] = {
    SUBJECT_DATA_OPTIONS,
    {.name = "batch",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1048576,
     .help = "samples per run, 0 for 32 or what the model fixes"},
    {.name = "output",
     .kind = CLI_TEXT,
     .value = "NAME",
     .help = "the output with the scores or logits"},
    {.name = "labels",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "names of the classes, one per line"},
    {.name = "per-class", .kind = CLI_FLAG, .help = "list the classes recognised least often"},
    {.name = "densities",
     .kind = CLI_FLAG,
     .help = "say how much of each block's map is computed, for models of spry adapt -m lasnet"},
    {.name = "masks",
     .kind = CLI_PATH,
     .value = "DIR",
     .help = "write pictures of what each block computes of the first 16 samples, as PNG; implies "
             "--densities"},
    {.name = "predictions",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write logits, classes and labels of all samples (.npz or .safetensors), answers to "
             "squad (.json)"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace an existing FILE"},
    {.name = "at-least",
     .kind = CLI_NUMBER,
     .value = "X",
     .lowest = 0,
     .highest = 1,
     .help = "exit with 1 when top-1, or F1, is below this fraction"},
    {.name = "seed",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 9007199254740992.0,
     .help = "seed of random operators"},
    EVALUATE_TEXT_OPTIONS,
    SUBJECT_SESSION_OPTIONS,
    {0},
};

typedef struct evaluate_state {
    const cli_call *call;
    subject s;
    spry_dataset *data;
    labels names;
    spry_evaluation *result;
    mask_report masks;
    spry_model *source; /* the model as it was, while masks are looked at */
    bool has_masks;     /* and they are asked for */
} evaluate_state;

static const char *class_name(const evaluate_state *e, int64_t label)
{
    const char *name = labels_at(&e->names, label);

    name = name != NULL ? name : spry_dataset_class_name(e->data, label);
    return name != NULL ? name : "";
}

/* ---- telling ---- */

static spry_status print_classes(const evaluate_state *e, spry_error *error)
{
    static const table_column columns[] = {{"class", true}, {"name", false},
                                           {"right", true}, {"of", true},
                                           {"%", true},     {"often taken for", false},
                                           {NULL, false}};
    const spry_evaluate_class *rows = NULL;
    int32_t count = spry_evaluation_classes(e->result, &rows);
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count && i < WORST_CLASSES; i++) {
        table_cell(&t, "%" PRId64, rows[i].label);
        table_cell(&t, "%s", class_name(e, rows[i].label));
        table_cell(&t, "%" PRId64, rows[i].right);
        table_cell(&t, "%" PRId64, rows[i].count);
        table_cell(&t, "%.2f", 100.0 * (double)rows[i].right / (double)rows[i].count);
        if (rows[i].mistaken < 0) {
            table_cell(&t, "%s", "");
        } else {
            table_cell(&t, "%" PRId64 " %s", rows[i].mistaken, class_name(e, rows[i].mistaken));
        }
    }
    (void)fputc('\n', e->call->out);
    spry_status status = table_print(&t, TABLE_PLAIN, e->call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_text(const evaluate_state *e, spry_error *error)
{
    const spry_evaluate_totals *t = spry_evaluation_totals(e->result);

    (void)fprintf(e->call->out,
                  "top-1    %.2f %%\ntop-5    %.2f %%\nsamples  %" PRId64
                  " in %.2f s (%.1f per second, %.2f s in the model, batches of %" PRId64 ")\n",
                  100 * t->top1, 100 * t->top5, t->count, t->seconds,
                  t->seconds > 0 ? (double)t->count / t->seconds : 0, t->run_seconds, t->batch);
    if (cli_given(e->call, "per-class")) {
        spry_status status = print_classes(e, error);

        if (status != SPRY_OK) {
            return status;
        }
    }
    return e->has_masks ? mask_report_print(&e->masks, e->call, error) : SPRY_OK;
}

static void write_classes(const evaluate_state *e, json_writer *json)
{
    const spry_evaluate_class *rows = NULL;
    int32_t count = spry_evaluation_classes(e->result, &rows);

    json_write_array(json, "classes");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_i64(json, "class", rows[i].label);
        json_write_string(json, "name", class_name(e, rows[i].label));
        json_write_i64(json, "right", rows[i].right);
        json_write_i64(json, "count", rows[i].count);
        json_write_i64(json, "often_taken_for", rows[i].mistaken);
        json_write_end(json);
    }
    json_write_end(json);
}

static spry_status print_json(const evaluate_state *e, spry_error *error)
{
    const spry_evaluate_totals *t = spry_evaluation_totals(e->result);
    const output_record record = output_record_of(e->s.path, &e->s.options);
    output_document document;

    output_begin(&document, e->call);
    json_writer *json = &document.json;
    json_write_string(json, "data", cli_text(e->call, "data"));
    json_write_f64(json, "top1", t->top1);
    json_write_f64(json, "top5", t->top5);
    json_write_i64(json, "count", t->count);
    json_write_f64(json, "seconds", t->seconds);
    json_write_f64(json, "run_seconds", t->run_seconds);
    json_write_i64(json, "batch", t->batch);
    if (cli_given(e->call, "per-class")) {
        write_classes(e, json);
    }
    spry_status status = e->has_masks ? mask_report_json(&e->masks, json, error) : SPRY_OK;
    if (status == SPRY_OK) {
        status = output_write_record(json, &record, error);
    }
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, e->call, error);
}

static spry_status save_predictions(const evaluate_state *e, spry_error *error)
{
    static const char *const names[] = {"logits", "classes", "labels"};
    const char *path = cli_text(e->call, "predictions");

    if (path == NULL) {
        return SPRY_OK;
    }
    const spry_tensor *const tensors[] = {spry_evaluation_scores(e->result),
                                          spry_evaluation_predictions(e->result),
                                          spry_evaluation_labels(e->result)};
    return spry_archive_save(path, 3, names, tensors, error);
}

/* ---- the command ---- */

static spry_status evaluate(evaluate_state *e, spry_error *error)
{
    spry_evaluate_options asked = spry_evaluate_options_default();
    spry_preprocess recipe;
    progress_bar bar;
    spry_status status = spry_preprocess_parse(cli_text(e->call, "preprocess"), &recipe, error);

    if (status != SPRY_OK) {
        return status;
    }
    progress_bar_begin(&bar, e->call);
    asked.recipe = &recipe;
    asked.limit = cli_integer(e->call, "limit");
    asked.batch = cli_integer(e->call, "batch");
    asked.class_offset = cli_integer(e->call, "class-offset");
    asked.output = cli_text(e->call, "output");
    asked.keep_scores = cli_given(e->call, "predictions");
    asked.progress = &bar.hook;
    asked.visit = e->has_masks ? mask_report_take : NULL;
    asked.visit_context = &e->masks;
    status = spry_evaluate(e->s.model, e->s.session, e->data, &asked, &e->result, error);
    progress_bar_end(&bar);
    return status;
}

/* Usage is checked before the model is read, which may take long. */
static spry_status prepare(evaluate_state *e, spry_error *error)
{
    const char *data = cli_text(e->call, "data");
    const char *predictions = cli_text(e->call, "predictions");

    if (data == NULL) {
        return spry_fail(error, SPRY_USAGE, "--data", "for example --data cifar10:test_batch.bin",
                         "no data given");
    }
    spry_status status =
        predictions != NULL ? output_check_free(e->call, predictions, error) : SPRY_OK;
    if (status == SPRY_OK) {
        status = spry_dataset_open(NULL, data, &e->data, error);
    }
    if (status == SPRY_OK) {
        status = labels_open(&e->names, cli_text(e->call, "labels"), error);
    }
    return status;
}

static spry_status report(const evaluate_state *e, spry_error *error)
{
    double top1 = spry_evaluation_totals(e->result)->top1;
    spry_status status = save_predictions(e, error);

    if (status == SPRY_OK) {
        status = cli_given(e->call, "json") ? print_json(e, error) : print_text(e, error);
    }
    if (status == SPRY_OK && cli_given(e->call, "at-least") &&
        top1 < cli_number(e->call, "at-least")) {
        output_note(e->call, "top-1 %.4f is below %s", top1, cli_text(e->call, "at-least"));
        return SPRY_NEGATIVE;
    }
    return status;
}

/* Where masks are asked for, the model that is run has them as outputs. */
static spry_status reveal_masks(evaluate_state *e, spry_error *error)
{
    if (!cli_given(e->call, "densities") && !cli_given(e->call, "masks")) {
        return SPRY_OK;
    }
    e->source = e->s.model;
    e->has_masks = true;
    spry_status status = mask_report_open(&e->masks, e->source, cli_text(e->call, "masks"), error);
    if (status == SPRY_OK) {
        e->s.model = e->masks.revealed;
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    evaluate_state e = {.call = call};

    if (evaluate_text_is(cli_text(call, "data"))) {
        return evaluate_text(call, error);
    }
    spry_status status = prepare(&e, error);

    if (status == SPRY_OK) {
        status = subject_open(&e.s, call, error);
    }
    if (status == SPRY_OK) {
        status = reveal_masks(&e, error);
    }
    if (status == SPRY_OK) {
        status = subject_open_session(&e.s, error);
    }
    if (status == SPRY_OK) {
        status = evaluate(&e, error);
    }
    if (status == SPRY_OK) {
        subject_tell_cache(&e.s, call);
        status = report(&e, error);
    }
    spry_evaluation_destroy(e.result);
    labels_close(&e.names);
    if (e.has_masks) { /* the session's model is the report's */
        e.s.model = e.source;
        spry_session_destroy(e.s.session);
        e.s.session = NULL;
        mask_report_close(&e.masks);
    }
    subject_close(&e.s);
    spry_dataset_close(e.data);
    return status;
}

const cli_command cmd_evaluate = {
    .name = "evaluate",
    .summary = "measure how often a classifier is right",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry evaluate resnet20.onnx --data cifar10:test_batch.bin --preprocess imagenet",
                 "spry evaluate mobilenet.onnx --data labels:labels.txt --preprocess tf128 "
                 "--class-offset 1 --limit 200"},
    .description =
        "Runs labelled samples through a model and counts how often the right class has the "
        "largest score (top-1) or one of the five largest (top-5).\n\n"
        "Kinds of data: cifar10 (binary file), idx (as MNIST, also gzipped), folder (one subfolder "
        "per class), labels (a text file with picture and class per line), npz and safetensors "
        "(arrays of samples and labels), csv (columns of numbers and a class; FILE@COLUMN says "
        "which is the class, the last otherwise).\n\n"
        "Two kinds are text and need --vocab. squad:FILE asks a model for question answering every "
        "question of a file in SQuAD's format and prints exact matches and F1 as its official "
        "scripts do; --predictions then writes {id: answer}. text:FILE has a language model "
        "predict every token of a file and prints its perplexity.\n\n"
        "Memory does not grow with the number of samples unless --predictions keeps their scores.",
    .options = options,
    .run = run,
};
