/* spry compare: how far two models, or a model and stored outputs, are from each other. */
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "cli/commands.h"
#include "cli/compare_report.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/subject.h"
#include "spry/compare.h"
#include "spry/dataset.h"
#include "spry/tensor_file.h"

enum { PATH_SIZE = 4096, NAME_SIZE = 4200 };

static const cli_option options[] = {
    SUBJECT_INPUT_OPTIONS,
    {.name = "random",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 1000000,
     .help = "runs with random inputs, each with the next seed"},
    {.name = "data",
     .letter = 'd',
     .kind = CLI_TEXT,
     .value = "KIND:PATH",
     .help = "inputs from samples: cifar10, idx, folder, labels, npz, safetensors or csv, and "
             "where they lie"},
    {.name = "limit",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "16",
     .lowest = 1,
     .highest = 9007199254740992.0,
     .help = "samples of --data to use"},
    {.name = "layers", .kind = CLI_FLAG, .help = "compare results in between too, by name"},
    {.name = "tolerance",
     .kind = CLI_NUMBER,
     .value = "T",
     .lowest = 0,
     .highest = 1e30,
     .help = "exit with 1 when an output differs by more than this fraction of its range"},
    SUBJECT_SESSION_OPTIONS,
    {0},
};

typedef struct side {
    spry_model *model;  /* what runs: exposed when layers are wanted */
    spry_model *source; /* as loaded, when model is another */
    spry_session *session;
    spry_value **outputs;
    int32_t output_count;
    const char **names; /* room for the arguments of a run */
    const spry_value **values;
} side;

typedef struct compare_state {
    const cli_call *call;
    subject s;             /* of A: inputs and options */
    side a;                /* its model and session belong to `s` unless layers are wanted */
    side b;                /* the reference; no model when it is stored */
    spry_archive *archive; /* B as an archive */
    const char *folder;    /* B as a folder */
    spry_comparison *comparison;
    int32_t result_count; /* the first outputs are the models' own */
    int64_t runs;
    bool is_turned; /* A is the reference: B is the quantized one */
    arena memory;
} compare_state;

/* ---- the two sides ---- */

static bool is_folder(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool ends_with(const char *string, const char *end)
{
    size_t length = strlen(string);

    return length >= strlen(end) && strcmp(string + length - strlen(end), end) == 0;
}

static spry_status open_reference(compare_state *c, spry_error *error)
{
    const char *path = c->call->arguments[1];

    if (is_folder(path)) {
        c->folder = path;
        return SPRY_OK;
    }
    if (ends_with(path, ".npz") || ends_with(path, ".safetensors")) {
        return spry_archive_open(NULL, path, &c->archive, error);
    }
    return spry_model_load(NULL, path, &c->b.model, error);
}

/* Puts copies with more outputs in the place of both models. */
static spry_status expose_layers(compare_state *c, spry_error *error)
{
    if (c->b.model == NULL) {
        return spry_fail(error, SPRY_USAGE, "--layers", NULL,
                         "stored outputs have no results in between; give two models");
    }
    c->a.source = c->a.model;
    c->b.source = c->b.model;
    c->a.model = NULL;
    c->b.model = NULL;
    spry_status status = spry_model_expose(c->a.source, c->b.source, &c->a.model, error);
    return status == SPRY_OK ? spry_model_expose(c->b.source, c->a.source, &c->b.model, error)
                             : status;
}

static spry_status open_side(compare_state *c, side *s, spry_error *error)
{
    size_t inputs = (size_t)spry_model_input_count(s->model) + 1;

    s->output_count = spry_model_output_count(s->model);
    s->names = arena_array(&c->memory, inputs, sizeof *s->names);
    s->values = arena_array(&c->memory, inputs, sizeof *s->values);
    s->outputs = arena_array(&c->memory, (size_t)s->output_count + 1, sizeof(spry_value *));
    if (s->names == NULL || s->values == NULL || s->outputs == NULL) {
        return alloc_failed(error, inputs * sizeof *s->names);
    }
    return spry_session_create(s->model, &c->s.options, &s->session, error);
}

static void drop_outputs(side *s)
{
    for (int32_t i = 0; s->outputs != NULL && i < s->output_count; i++) {
        spry_value_destroy(s->outputs[i]);
        s->outputs[i] = NULL;
    }
}

static void close_side(side *s)
{
    drop_outputs(s);
    spry_session_destroy(s->session);
    spry_model_destroy(s->model);
    spry_model_destroy(s->source);
}

static spry_status open_all(compare_state *c, spry_error *error)
{
    spry_status status = subject_open(&c->s, c->call, error);

    if (status != SPRY_OK) {
        return status;
    }
    c->a.model = c->s.model;
    c->s.model = NULL;
    c->result_count = spry_model_output_count(c->a.model);
    status = open_reference(c, error);
    c->is_turned = status == SPRY_OK && c->b.model != NULL && spry_model_is_quantized(c->b.model) &&
                   !spry_model_is_quantized(c->a.model);
    if (status == SPRY_OK && cli_given(c->call, "layers")) {
        status = expose_layers(c, error);
    }
    if (status == SPRY_OK) {
        status = open_side(c, &c->a, error);
    }
    if (status == SPRY_OK && c->b.model != NULL) {
        status = open_side(c, &c->b, error);
    }
    return status == SPRY_OK ? spry_comparison_create(NULL, &c->comparison, error) : status;
}

static void close_all(compare_state *c)
{
    spry_comparison_destroy(c->comparison);
    spry_archive_close(c->archive);
    spry_feed_destroy(c->s.feed);
    c->s.feed = NULL;
    close_side(&c->a);
    close_side(&c->b);
    subject_close(&c->s);
}

/* ---- inputs ---- */

/* Feeds `name` with a copy of a tensor. */
static spry_status feed_copy(spry_feed *feed, const char *name, const spry_tensor *source,
                             spry_error *error)
{
    spry_tensor *copy = NULL;
    spry_value *value = NULL;
    spry_status status = spry_tensor_copy(NULL, source, &copy, error);

    if (status == SPRY_OK) {
        status = spry_value_from_tensor(NULL, copy, &value, error);
    }
    return status == SPRY_OK ? spry_feed_set(feed, name, value, error) : status;
}

/* Inputs that the reference archive brings along as in__NAME. */
static spry_status feed_from_archive(compare_state *c, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < spry_feed_count(c->s.feed); i++) {
        char name[NAME_SIZE];
        const spry_tensor *t = NULL;
        (void)snprintf(name, sizeof name, "in__%s", spry_feed_name(c->s.feed, i));
        int32_t entry = spry_archive_find(c->archive, name);
        if (entry < 0) {
            continue;
        }
        status = spry_archive_tensor(c->archive, entry, &t, error);
        if (status == SPRY_OK) {
            status = feed_copy(c->s.feed, spry_feed_name(c->s.feed, i), t, error);
        }
    }
    return status;
}

static bool archive_has_inputs(const compare_state *c)
{
    for (int32_t i = 0; c->archive != NULL && i < spry_archive_count(c->archive); i++) {
        if (strncmp(spry_archive_name(c->archive, i), "in__", 4) == 0) {
            return true;
        }
    }
    return false;
}

/* A feed like the first one but for the random inputs, which follow the next seed. */
static spry_status draw_again(compare_state *c, spry_feed *first, int64_t run, spry_error *error)
{
    spry_feed *feed = NULL;
    spry_status status = spry_feed_create(NULL, c->a.model, &feed, error);

    for (int32_t i = 0; status == SPRY_OK && i < spry_feed_dimension_count(first); i++) {
        spry_feed_dimension d = spry_feed_dimension_at(first, i);
        status = spry_feed_set_dimension(feed, d.name, d.size, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < spry_feed_count(first); i++) {
        const spry_value *value = spry_feed_value(first, i);
        if (!spry_feed_is_random(first, i) && value != NULL && spry_value_tensor(value) != NULL) {
            status = feed_copy(feed, spry_feed_name(first, i), spry_value_tensor(value), error);
        }
    }
    if (status == SPRY_OK) {
        status = spry_feed_fill_random(feed, c->s.options.seed + (uint64_t)run, error);
    }
    c->s.feed = feed;
    return status;
}

/* ---- one run ---- */

static spry_status run_side(const compare_state *c, side *s, spry_error *error)
{
    int32_t count = spry_model_input_count(s->model);
    int32_t fed = spry_feed_count(c->s.feed);
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        spry_port port;
        status = spry_model_input(s->model, i, &port, error);
        s->names[i] = port.name;
        s->values[i] = NULL;
        for (int32_t k = 0; status == SPRY_OK && k < fed; k++) {
            bool is_same = strcmp(spry_feed_name(c->s.feed, k), port.name) == 0;
            /* Converters rename: a single input needs no name. */
            if (is_same || (count == 1 && fed == 1)) {
                s->values[i] = spry_feed_value(c->s.feed, k);
            }
        }
        if (status == SPRY_OK && s->values[i] == NULL) {
            status = spry_fail(error, SPRY_USAGE, port.name, NULL,
                               "the first model has no input of this name");
        }
    }
    if (status == SPRY_OK) {
        status = spry_session_run(s->session, count, s->names, s->values, s->output_count,
                                  s->outputs, error);
    }
    return status;
}

/* The stored tensor for an output; NULL when there is none. *owned is to be destroyed. */
static spry_status find_stored(compare_state *c, const char *name, const spry_tensor **stored,
                               spry_tensor **owned, spry_error *error)
{
    char path[PATH_SIZE];

    *stored = NULL;
    *owned = NULL;
    if (c->archive != NULL) {
        char prefixed[NAME_SIZE];
        (void)snprintf(prefixed, sizeof prefixed, "out__%s", name);
        int32_t entry = spry_archive_find(c->archive, prefixed);
        entry = entry >= 0 ? entry : spry_archive_find(c->archive, name);
        return entry < 0 ? SPRY_OK : spry_archive_tensor(c->archive, entry, stored, error);
    }
    spry_status status = output_path(path, sizeof path, c->folder, name, ".npy", error);
    struct stat there;
    if (status != SPRY_OK || stat(path, &there) != 0) {
        return status;
    }
    status = spry_tensor_load(NULL, path, owned, error);
    *stored = *owned;
    return status;
}

/* The reference's output of that name, or at that place where both models have as many. */
static const spry_tensor *find_output(const compare_state *c, int32_t index, const char *name)
{
    for (int32_t i = 0; i < c->b.output_count; i++) {
        spry_port port;
        if (spry_model_output(c->b.model, i, &port, NULL) == SPRY_OK &&
            strcmp(port.name, name) == 0) {
            return spry_value_tensor(c->b.outputs[i]);
        }
    }
    bool by_place = c->a.output_count == c->b.output_count && index < c->result_count;
    return by_place ? spry_value_tensor(c->b.outputs[index]) : NULL;
}

static spry_status compare_output(compare_state *c, int32_t index, spry_error *error)
{
    const spry_tensor *mine = spry_value_tensor(c->a.outputs[index]);
    const spry_tensor *theirs = NULL;
    spry_tensor *owned = NULL;
    spry_port port;
    spry_status status = spry_model_output(c->a.model, index, &port, error);

    if (status == SPRY_OK && c->b.model == NULL) {
        status = find_stored(c, port.name, &theirs, &owned, error);
    } else if (status == SPRY_OK) {
        theirs = find_output(c, index, port.name);
    }
    if (status == SPRY_OK && mine != NULL && theirs != NULL) {
        status = c->is_turned ? spry_comparison_add(c->comparison, port.name, mine, theirs, error)
                              : spry_comparison_add(c->comparison, port.name, theirs, mine, error);
        if (index >= c->result_count && (status == SPRY_USAGE || status == SPRY_UNSUPPORTED)) {
            output_detail(c->call, "%s is not compared: shapes or types differ", port.name);
            status = SPRY_OK;
        }
    } else if (status == SPRY_OK && c->runs == 0 && index < c->result_count) {
        output_warn(c->call, "output %s has no counterpart", port.name);
    }
    spry_tensor_destroy(owned);
    return status;
}

/* Layers first, as they are computed; results last. */
static spry_status compare_run(compare_state *c, spry_error *error)
{
    spry_status status = run_side(c, &c->a, error);

    if (status == SPRY_OK && c->b.model != NULL) {
        status = run_side(c, &c->b, error);
    }
    for (int32_t i = c->result_count; status == SPRY_OK && i < c->a.output_count; i++) {
        status = compare_output(c, i, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < c->result_count; i++) {
        status = compare_output(c, i, error);
    }
    drop_outputs(&c->a);
    drop_outputs(&c->b);
    c->runs++;
    return status;
}

/* ---- all runs ---- */

static spry_status report_progress(const progress_bar *bar, int64_t done, int64_t total,
                                   spry_error *error)
{
    return progress_report(&bar->hook, "comparing", (double)done, (double)total, error);
}

static spry_status feed_sample(compare_state *c, spry_dataset *data, const spry_preprocess *recipe,
                               int64_t index, spry_error *error)
{
    spry_tensor *sample = NULL;
    spry_value *value = NULL;
    spry_port port;
    spry_status status = spry_model_input(c->a.model, 0, &port, error);

    if (status == SPRY_OK && (spry_model_input_count(c->a.model) != 1 || port.rank < 1)) {
        status =
            spry_fail(error, SPRY_USAGE, "--data", NULL, "the model does not take single samples");
    }
    if (status == SPRY_OK) {
        int64_t batch = port.shape[0] > 0 ? port.shape[0] : 1;
        status = spry_dataset_batch(data, index, batch, recipe, port.dtype, port.rank, port.shape,
                                    &sample, NULL, error);
    }
    if (status == SPRY_OK) {
        status = spry_value_from_tensor(NULL, sample, &value, error);
    }
    return status == SPRY_OK ? spry_feed_set(c->s.feed, port.name, value, error) : status;
}

static spry_status run_data(compare_state *c, progress_bar *bar, spry_error *error)
{
    spry_dataset *data = NULL;
    spry_preprocess recipe;
    int64_t limit = cli_integer(c->call, "limit");
    spry_status status = spry_preprocess_parse(cli_text(c->call, "preprocess"), &recipe, error);

    if (status == SPRY_OK) {
        status = spry_dataset_open(NULL, cli_text(c->call, "data"), &data, error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_create(NULL, c->a.model, &c->s.feed, error);
    }
    limit =
        status == SPRY_OK && spry_dataset_count(data) < limit ? spry_dataset_count(data) : limit;
    for (int64_t i = 0; status == SPRY_OK && i < limit; i++) {
        status = feed_sample(c, data, &recipe, i, error);
        if (status == SPRY_OK) {
            status = compare_run(c, error);
        }
        if (status == SPRY_OK) {
            status = report_progress(bar, i + 1, limit, error);
        }
    }
    spry_dataset_close(data);
    return status;
}

static spry_status run_random(compare_state *c, progress_bar *bar, spry_error *error)
{
    int64_t runs = cli_integer(c->call, "random");
    spry_feed *first = NULL;
    spry_status status;

    if (archive_has_inputs(c)) {
        status = spry_feed_create(NULL, c->a.model, &c->s.feed, error);
        status = status == SPRY_OK ? feed_from_archive(c, error) : status;
        status =
            status == SPRY_OK ? spry_feed_fill_random(c->s.feed, c->s.options.seed, error) : status;
    } else {
        c->s.model = c->a.model; /* lent: the feed is made for the model that runs */
        status = subject_gather(&c->s, c->call, error);
        c->s.model = NULL;
    }
    for (int64_t i = 0; status == SPRY_OK && i < runs; i++) {
        if (i > 0) {
            first = first == NULL ? c->s.feed : first;
            if (c->s.feed != first) {
                spry_feed_destroy(c->s.feed);
            }
            c->s.feed = NULL;
            status = draw_again(c, first, i, error);
        }
        if (status == SPRY_OK) {
            status = compare_run(c, error);
        }
        if (status == SPRY_OK) {
            status = report_progress(bar, i + 1, runs, error);
        }
    }
    if (first != c->s.feed) {
        spry_feed_destroy(first);
    }
    return status;
}

/* ---- telling ---- */

/* How many of the last rows are outputs: those without a counterpart have no row. */
static int32_t count_results(const compare_state *c, const spry_difference *rows, int32_t count)
{
    int32_t found = 0;

    for (int32_t i = 0; i < c->result_count; i++) {
        spry_port port;
        if (spry_model_output(c->a.model, i, &port, NULL) != SPRY_OK) {
            continue;
        }
        for (int32_t k = 0; k < count; k++) {
            found += strcmp(rows[k].name, port.name) == 0;
        }
    }
    return found;
}

static spry_status report(compare_state *c, spry_error *error)
{
    const spry_difference *rows = NULL;
    int32_t count = spry_comparison_rows(c->comparison, &rows);
    int32_t results = count_results(c, rows, count);
    const compare_told told = {.call = c->call,
                               .memory = &c->memory,
                               .path = c->s.path,
                               .options = &c->s.options,
                               .layers = c->a.source,
                               .runs = c->runs};

    if (results == 0) {
        return spry_fail(error, SPRY_USAGE, c->call->arguments[1], NULL,
                         "no output of the model has a counterpart");
    }
    spry_status status = cli_given(c->call, "json")
                             ? compare_print_json(&told, rows, count, results, error)
                             : compare_print_text(&told, rows, count, error);
    for (int32_t i = count - results; status == SPRY_OK && i < count; i++) {
        if (cli_given(c->call, "tolerance") &&
            !(rows[i].max_rel <= cli_number(c->call, "tolerance"))) {
            output_note(c->call, "%s differs by more than %s of its range", rows[i].name,
                        cli_text(c->call, "tolerance"));
            return SPRY_NEGATIVE;
        }
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    compare_state c = {.call = call};
    progress_bar bar;

    arena_init(&c.memory, NULL, SIZE_MAX);
    spry_status status = open_all(&c, error);

    progress_bar_begin(&bar, call);
    if (status == SPRY_OK) {
        status = cli_given(call, "data") ? run_data(&c, &bar, error) : run_random(&c, &bar, error);
    }
    progress_bar_end(&bar);
    if (status == SPRY_OK) {
        status = report(&c, error);
    }
    close_all(&c);
    arena_fini(&c.memory);
    return status;
}

const cli_command cmd_compare = {
    .name = "compare",
    .summary = "measure how far two models are from each other",
    .arguments = "A B",
    .least_arguments = 2,
    .most_arguments = 2,
    .examples = {"spry compare resnet8_int8.onnx resnet8_fp32.onnx --random 10 --layers",
                 "spry compare resnet20.onnx reference.npz --tolerance 1e-4"},
    .description =
        "Runs model A and the reference B on the same inputs and tells per output the largest "
        "difference, absolute and as fraction of the reference's range, the cosine of the angle "
        "between both, the signal-to-noise ratio, and how often the largest element of a row is "
        "the same.\n\n"
        "B is a model, a folder of .npy files as spry run -o writes them, or an archive with "
        "outputs as NAME or out__NAME and, if it has them, inputs as in__NAME.\n\n"
        "With --layers all results in between that have the same name in both models are compared "
        "in the order of their computation, then those at which precision falls, worst first, with "
        "the operator to look at. Values that are quantized are compared after their rounding. "
        "Being asked for, results are not fused away.\n\n"
        "Where B is quantized and A is not, A is the reference.",
    .options = options,
    .run = run,
};
