/* spry run: runs a model once and writes, or describes, what comes out. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/files.h"
#include "cli/commands.h"
#include "cli/labels.h"
#include "cli/mask_report.h"
#include "cli/output.h"
#include "cli/subject.h"
#include "cli/table.h"
#include "measure/summary.h"
#include "spry/survivors.h"
#include "spry/tensor_file.h"

enum { TOP = 5, PATH_SIZE = 4096 };

static const cli_option options[] = {
    SUBJECT_INPUT_OPTIONS,
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "DIR",
     .help = "write every output as DIR/OUTPUTNAME.npy"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace existing files"},
    {.name = "labels",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "names of the classes, one per line, for the largest scores"},
    SUBJECT_SESSION_OPTIONS,
    {.name = "repeat",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 1000000,
     .help = "run so many times; outputs are those of the last run"},
    {.name = "densities",
     .kind = CLI_FLAG,
     .help = "say how much of each block's map is computed, for models of spry adapt -m lasnet"},
    {.name = "masks",
     .kind = CLI_PATH,
     .value = "DIR",
     .help = "write a picture of what each block computes of the input, as PNG; implies "
             "--densities"},
    {.name = "survivors",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write which keys survive each round of each attention, for models of spry adapt -m "
             "energon, as .npz"},
    {.name = "trace",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write a timeline of the operators for ui.perfetto.dev (Chrome trace JSON)"},
    {0},
};

/* One output tensor with where it goes. Items of sequences become parts of their own. */
typedef struct part {
    char name[SPRY_ERROR_WHERE_SIZE];
    const spry_tensor *content;
    char path[PATH_SIZE]; /* "" when it is not written */
} part;

typedef struct run_state {
    const cli_call *call;
    subject s;
    labels names;
    spry_value **outputs;
    int32_t output_count;
    part *parts;
    size_t part_count;
    size_t part_capacity;
    double best_ms;
    spry_trace *trace;         /* NULL: not wanted */
    spry_survivors *survivors; /* NULL: not wanted */
    mask_report masks;
    spry_model *source; /* the model as it was, while masks are looked at */
    bool has_masks;     /* and they are asked for */
} run_state;

/* ---- running ---- */

static void destroy_outputs(run_state *r)
{
    for (int32_t i = 0; i < r->output_count && r->outputs != NULL; i++) {
        spry_value_destroy(r->outputs[i]);
        r->outputs[i] = NULL;
    }
}

static spry_status run_all(run_state *r, spry_error *error)
{
    int64_t repeat = cli_integer(r->call, "repeat");
    spry_status status = SPRY_OK;

    r->output_count = spry_model_output_count(r->s.model); /* masks included */
    r->outputs =
        alloc_array(spry_allocator_system(), (size_t)r->output_count + 1, sizeof *r->outputs);
    if (r->outputs == NULL) {
        return alloc_failed(error, (size_t)r->output_count);
    }
    for (int64_t i = 0; i < repeat && status == SPRY_OK; i++) {
        int64_t start = clock_ns();
        double ms;

        destroy_outputs(r);
        status = spry_feed_run(r->s.feed, r->s.session, r->output_count, r->outputs, error);
        ms = (double)(clock_ns() - start) * 1e-6;
        r->best_ms = i == 0 || ms < r->best_ms ? ms : r->best_ms;
    }
    return status;
}

/* ---- masks ---- */

/* Where masks are asked for, the model that is run has them as outputs. */
static spry_status reveal_masks(run_state *r, spry_error *error)
{
    spry_status status;

    if (!cli_given(r->call, "densities") && !cli_given(r->call, "masks")) {
        return SPRY_OK;
    }
    r->source = r->s.model;
    r->has_masks = true;
    status = mask_report_open(&r->masks, r->source, cli_text(r->call, "masks"), error);
    if (status == SPRY_OK) {
        r->s.model = r->masks.revealed;
    }
    return status;
}

/* The input is one batch of samples. */
static spry_status take_masks(run_state *r, spry_error *error)
{
    const spry_tensor *input;
    spry_evaluate_batch batch = {.outputs = r->outputs};

    if (!r->has_masks) {
        return SPRY_OK;
    }
    input = spry_value_tensor(spry_feed_value(r->s.feed, 0));
    batch.input = input;
    batch.count = spry_tensor_rank(input) > 0 ? spry_tensor_shape(input)[0] : 0;
    return mask_report_take(&r->masks, &batch, error);
}

/* ---- parts ---- */

static spry_status add_part(run_state *r, const char *name, const spry_tensor *content,
                            spry_error *error)
{
    enum { PARTS_MOST = 1 << 20 };
    void *parts = r->parts;
    spry_status status = alloc_grow(spry_allocator_system(), &parts, &r->part_capacity,
                                    r->part_count + 1, sizeof *r->parts, PARTS_MOST, error);
    part *added;

    if (status != SPRY_OK) {
        return status;
    }
    r->parts = parts;
    added = &r->parts[r->part_count++];
    added->content = content;
    added->path[0] = '\0';
    (void)snprintf(added->name, sizeof added->name, "%s", name);
    return SPRY_OK;
}

static spry_status add_value(run_state *r, const char *name, const spry_value *value,
                             spry_error *error)
{
    spry_status status = SPRY_OK;

    if (spry_value_kind_of(value) == SPRY_VALUE_TENSOR) {
        return add_part(r, name, spry_value_tensor(value), error);
    }
    for (int64_t i = 0; i < spry_value_count(value) && status == SPRY_OK; i++) {
        char item[SPRY_ERROR_WHERE_SIZE];

        (void)snprintf(item, sizeof item, "%s.%lld", name, (long long)i);
        status = add_value(r, item, spry_value_item(value, i), error);
    }
    return status;
}

static spry_status list_parts(run_state *r, spry_error *error)
{
    int32_t count = r->has_masks ? r->masks.first : r->output_count;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        spry_port port;

        status = spry_model_output(r->s.model, i, &port, error);
        if (status == SPRY_OK) {
            status = add_value(r, port.name, r->outputs[i], error);
        }
    }
    return status;
}

/* ---- files ---- */

/* Two names that differ only in characters that files must not have would meet in one file. */
static bool is_taken(const run_state *r, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(r->parts[i].path, r->parts[index].path) == 0) {
            return true;
        }
    }
    return false;
}

static spry_status choose_path(run_state *r, size_t index, const char *folder, spry_error *error)
{
    part *p = &r->parts[index];
    char ending[32] = ".npy";
    spry_status status = output_path(p->path, sizeof p->path, folder, p->name, ending, error);

    if (status == SPRY_OK && is_taken(r, index)) {
        (void)snprintf(ending, sizeof ending, "_%zu.npy", index);
        status = output_path(p->path, sizeof p->path, folder, p->name, ending, error);
    }
    return status == SPRY_OK ? output_check_free(r->call, p->path, error) : status;
}

static spry_status write_parts(run_state *r, spry_error *error)
{
    const char *folder = cli_text(r->call, "output");
    spry_status status;

    if (folder == NULL) {
        return SPRY_OK;
    }
    status = file_make_folder(folder, error);
    /* All paths are checked before the first file is written. */
    for (size_t i = 0; i < r->part_count && status == SPRY_OK; i++) {
        status = choose_path(r, i, folder, error);
    }
    for (size_t i = 0; i < r->part_count && status == SPRY_OK; i++) {
        status = spry_tensor_save(r->parts[i].content, r->parts[i].path, error);
    }
    return status;
}

static spry_status write_trace(const run_state *r, spry_error *error)
{
    return r->trace != NULL ? spry_trace_write(r->trace, cli_text(r->call, "trace"), error)
                            : SPRY_OK;
}

/* Looks into the session to come. */
static spry_status open_survivors(run_state *r, spry_error *error)
{
    spry_status status = SPRY_OK;

    if (cli_given(r->call, "survivors")) {
        status = output_check_free(r->call, cli_text(r->call, "survivors"), error);
        if (status == SPRY_OK) {
            status = spry_survivors_create(NULL, &r->survivors, error);
        }
        if (status == SPRY_OK) {
            r->s.options.attention = spry_survivors_probe(r->survivors);
        }
    }
    return status;
}

/* A long run whose results could not be stored would be wasted: what is known of the files is
 * checked before it. */
static spry_status check_files(const run_state *r, spry_error *error)
{
    const char *folder = cli_text(r->call, "output");
    const char *trace = cli_text(r->call, "trace");
    spry_status status = trace != NULL ? output_check_free(r->call, trace, error) : SPRY_OK;

    for (int32_t i = 0;
         status == SPRY_OK && folder != NULL && i < spry_model_output_count(r->s.model); i++) {
        char path[PATH_SIZE];
        spry_port port;

        status = spry_model_output(r->s.model, i, &port, error);
        if (status == SPRY_OK) {
            status = output_path(path, sizeof path, folder, port.name, ".npy", error);
        }
        if (status == SPRY_OK) {
            status = output_check_free(r->call, path, error);
        }
    }
    return status;
}

/* ---- telling ---- */

static void describe_shape(const spry_tensor *t, char *buffer, size_t size)
{
    text shape;

    text_init_fixed(&shape, buffer, size);
    text_append_char(&shape, '[');
    for (int i = 0; i < spry_tensor_rank(t); i++) {
        text_append_format(&shape, "%s%lld", i > 0 ? "," : "", (long long)spry_tensor_shape(t)[i]);
    }
    text_append_char(&shape, ']');
}

static void print_top(const run_state *r, const part *p)
{
    int64_t indices[TOP];
    double values[TOP];
    int count = summary_top(p->content, TOP, indices, values);

    if (!summary_is_scores(p->content)) {
        return;
    }
    (void)fprintf(r->call->out, "\nLargest scores of %s:\n", p->name);
    for (int i = 0; i < count; i++) {
        const char *label = labels_at(&r->names, indices[i]);

        (void)fprintf(r->call->out, "  %5lld  %10.6g%s%s\n", (long long)indices[i], values[i],
                      label != NULL ? "  " : "", label != NULL ? label : "");
    }
}

static spry_status print_text(const run_state *r, spry_error *error)
{
    static const table_column columns[] = {{"output", false}, {"type", false}, {"shape", false},
                                           {"min", true},     {"max", true},   {"mean", true},
                                           {NULL, false}};
    static const table_column with_file[] = {{"output", false}, {"type", false}, {"shape", false},
                                             {"min", true},     {"max", true},   {"mean", true},
                                             {"file", false},   {NULL, false}};
    bool has_files = cli_given(r->call, "output");
    table t;
    spry_status status;

    table_init(&t, has_files ? with_file : columns);
    for (size_t i = 0; i < r->part_count; i++) {
        const part *p = &r->parts[i];
        char shape[256];
        summary s;

        summary_of(p->content, &s);
        describe_shape(p->content, shape, sizeof shape);
        table_cell(&t, "%s", p->name);
        table_cell(&t, "%s", spry_dtype_name(spry_tensor_dtype(p->content)));
        table_cell(&t, "%s", shape);
        table_cell(&t, "%.6g", s.min);
        table_cell(&t, "%.6g", s.max);
        table_cell(&t, "%.6g", s.mean);
        if (has_files) {
            table_cell(&t, "%s", p->path);
        }
        if (s.finite < s.count && s.finite > 0) {
            output_warn(r->call, "%lld of %lld elements of %s are infinite or not a number",
                        (long long)(s.count - s.finite), (long long)s.count, p->name);
        }
    }
    status = table_print(&t, TABLE_PLAIN, r->call->out, error);
    table_fini(&t);
    for (size_t i = 0; i < r->part_count && status == SPRY_OK; i++) {
        print_top(r, &r->parts[i]);
    }
    return status == SPRY_OK && r->has_masks ? mask_report_print(&r->masks, r->call, error)
                                             : status;
}

static void write_tensor(json_writer *json, const char *name, const spry_tensor *t)
{
    json_write_string(json, "name", name);
    json_write_string(json, "type", spry_dtype_name(spry_tensor_dtype(t)));
    json_write_array(json, "shape");
    for (int i = 0; i < spry_tensor_rank(t); i++) {
        json_write_i64(json, NULL, spry_tensor_shape(t)[i]);
    }
    json_write_end(json);
}

static void write_top(const run_state *r, json_writer *json, const part *p)
{
    int64_t indices[TOP];
    double values[TOP];
    int count = summary_top(p->content, TOP, indices, values);

    json_write_array(json, "top");
    for (int i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_i64(json, "index", indices[i]);
        json_write_f64(json, "value", values[i]);
        if (labels_at(&r->names, indices[i]) != NULL) {
            json_write_string(json, "label", labels_at(&r->names, indices[i]));
        }
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_part(const run_state *r, json_writer *json, const part *p)
{
    summary s;

    summary_of(p->content, &s);
    json_write_object(json, NULL);
    write_tensor(json, p->name, p->content);
    json_write_i64(json, "count", s.count);
    json_write_i64(json, "finite", s.finite);
    json_write_f64(json, "min", s.min);
    json_write_f64(json, "max", s.max);
    json_write_f64(json, "mean", s.mean);
    if (p->path[0] != '\0') {
        json_write_string(json, "file", p->path);
    }
    if (summary_is_scores(p->content)) {
        write_top(r, json, p);
    }
    json_write_end(json);
}

static spry_status print_json(const run_state *r, spry_error *error)
{
    const output_record record = output_record_of(r->s.path, &r->s.options);
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, r->call);
    json_write_array(json, "inputs");
    for (int32_t i = 0; i < spry_feed_count(r->s.feed); i++) {
        json_write_object(json, NULL);
        write_tensor(json, spry_feed_name(r->s.feed, i),
                     spry_value_tensor(spry_feed_value(r->s.feed, i)));
        json_write_bool(json, "random", spry_feed_is_random(r->s.feed, i));
        json_write_end(json);
    }
    json_write_end(json);
    json_write_array(json, "outputs");
    for (size_t i = 0; i < r->part_count; i++) {
        write_part(r, json, &r->parts[i]);
    }
    json_write_end(json);
    json_write_f64(json, "run_ms", r->best_ms);
    status = r->has_masks ? mask_report_json(&r->masks, json, error) : SPRY_OK;
    if (status == SPRY_OK) {
        status = output_write_record(json, &record, error);
    }
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, r->call, error);
}

/* ---- the command ---- */

static spry_status perform(run_state *r, spry_error *error)
{
    spry_status status = labels_open(&r->names, cli_text(r->call, "labels"), error);

    if (status == SPRY_OK) {
        status = subject_open(&r->s, r->call, error);
    }
    if (status == SPRY_OK) {
        status = check_files(r, error);
    }
    if (status == SPRY_OK) {
        status = reveal_masks(r, error);
    }
    if (status == SPRY_OK && cli_given(r->call, "trace")) {
        status = spry_trace_create(NULL, &r->trace, error);
        r->s.options.trace = r->trace;
    }
    if (status == SPRY_OK) {
        status = open_survivors(r, error);
    }
    if (status == SPRY_OK) {
        status = subject_open_session(&r->s, error);
    }
    if (status == SPRY_OK) {
        status = subject_gather(&r->s, r->call, error);
    }
    if (status == SPRY_OK) {
        status = run_all(r, error);
    }
    if (status == SPRY_OK) {
        status = take_masks(r, error);
    }
    if (status == SPRY_OK) {
        status = list_parts(r, error);
    }
    if (status == SPRY_OK) {
        status = write_parts(r, error);
    }
    if (status == SPRY_OK) {
        status = write_trace(r, error);
    }
    if (status == SPRY_OK && r->survivors != NULL) {
        status = spry_survivors_save(r->survivors, cli_text(r->call, "survivors"), error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    output_detail(r->call, "loaded in %.3f ms, ran in %.3f ms", r->s.load_ms, r->best_ms);
    subject_tell_cache(&r->s, r->call);
    return cli_given(r->call, "json") ? print_json(r, error) : print_text(r, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const spry_allocator *allocator = spry_allocator_system();
    run_state r = {.call = call};
    spry_status status = perform(&r, error);

    destroy_outputs(&r);
    alloc_release(allocator, r.outputs, ((size_t)r.output_count + 1) * sizeof *r.outputs);
    alloc_release(allocator, r.parts, r.part_capacity * sizeof *r.parts);
    if (r.has_masks) { /* the feed's and session's model is the report's */
        r.s.model = NULL;
    }
    subject_close(&r.s);
    if (r.has_masks) {
        mask_report_close(&r.masks);
        spry_model_destroy(r.source);
    }
    spry_survivors_destroy(r.survivors);
    spry_trace_destroy(r.trace);
    labels_close(&r.names);
    return status;
}

const cli_command cmd_run = {
    .name = "run",
    .summary = "run a model once",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry run model.onnx -o out",
                 "spry run examples/glyphs/glyphs.onnx -i examples/glyphs/samples/a.png "
                 "--preprocess unit --labels examples/glyphs/classes.txt",
                 "spry run bert.onnx -i inputs.npz --set sequence=128 -o out --json"},
    .description =
        "Runs an ONNX model and prints name, type, shape and range of every output, and the "
        "largest "
        "scores where an output looks like the scores of classes. With -o, outputs are written as "
        "DIR/OUTPUTNAME.npy, items of sequences as DIR/OUTPUTNAME.K.npy; characters that do not "
        "belong into file names become '_'.\n\n"
        "Inputs without a file are random and the same for the same seed: floats from the normal "
        "distribution, integers from 0 to 99, ones for masks. Open dimensions that nothing decides "
        "are 1. Both are said on standard error.",
    .options = options,
    .run = run,
};
