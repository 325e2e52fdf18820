/* spry tune: which layers run together here, and on how many threads. */
#include <string.h>

#include "base/parse.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/subject.h"
#include "cli/table.h"
#include "spry/tune.h"

static const char *const strategy_choices[] = {"s1", "s2", "s3",     "s4",       "s5", "s6",
                                               "s7", "dp", "greedy", "measured", NULL};

static const cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "PLAN",
     .help = "where the plan goes"},
    {.name = "budget",
     .kind = CLI_TEXT,
     .value = "TIME",
     .fallback = "10s",
     .help = "time for measuring: 500ms, 10s, 2m; 0s takes what is foretold"},
    {.name = "strategy",
     .kind = CLI_CHOICE,
     .value = "HOW",
     .fallback = "measured",
     .choices = strategy_choices,
     .help = "what cuts the model: one of seven strategies (greedy is s6, dp is s7), or the best "
             "of what was measured"},
    {.name = "compare", .kind = CLI_FLAG, .help = "measure all strategies"},
    {.name = "target",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "the description of this machine, in place of that of spry doctor --calibrate"},
    {.name = "force", .letter = 'f', .kind = CLI_FLAG, .help = "replace an existing plan"},
    {.name = "threads",
     .letter = 't',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1024,
     .help =
         "threads of the sessions that will use the plan, 0 for as many as the process may use"},
    {.name = "precision",
     .kind = CLI_CHOICE,
     .value = "TYPE",
     .fallback = "f32",
     .choices = subject_precisions,
     .help = "arithmetic of models that hold f32"},
    SUBJECT_INPUT_OPTIONS,
    {0},
};

/* ---- options ---- */

/* "500ms", "10s", "2m" */
static spry_status parse_budget(const char *word, double *seconds, spry_error *error)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}};
    size_t digits = strspn(word, "0123456789.");
    char number[32] = "";

    if (digits > 0 && digits < sizeof number) {
        memcpy(number, word, digits);
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(word + digits, units[i].unit) == 0 && parse_f64(number, 0, 86400, seconds)) {
            *seconds *= units[i].seconds;
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, "--budget", "write a time with its unit: 10s",
                     "'%.40s' is no time in ms, s or m", word);
}

static spry_tune_strategy strategy_of(const char *word)
{
    int index = 0;

    if (strcmp(word, "greedy") == 0) {
        return SPRY_TUNE_S6;
    }
    if (strcmp(word, "dp") == 0) {
        return SPRY_TUNE_S7;
    }
    while (strcmp(spry_tune_strategy_names[index], word) != 0) {
        index++;
    }
    return (spry_tune_strategy)index;
}

/* ---- text ---- */

static spry_status print_rows(const cli_call *call, const spry_tuning *t, spry_error *error)
{
    static const table_column columns[] = {
        {"layers", false}, {"count", true},      {"threads", true},
        {"strip", true},   {"between", true},    {"predicted ms", true},
        {"ms", true},      {"one by one", true}, {NULL, false}};
    const spry_tune_row *rows;
    int32_t count = spry_tuning_rows(t, &rows);
    int32_t alone = 0;
    spry_status status;
    table x;

    table_init(&x, columns);
    for (int32_t i = 0; i < count; i++) {
        const spry_block *b = rows[i].block;
        char bytes[UNITS_SIZE];
        bool is_plain = b->layer_count == 1 &&
                        (b->threads == 0 || b->threads == spry_tuning_totals(t)->threads);

        alone += is_plain;
        if (is_plain && !cli_given(call, "verbose")) {
            continue;
        }
        table_cell(&x, b->layer_count > 1 ? "%s ... %s" : "%s", b->layers[0],
                   b->layers[b->layer_count - 1]);
        table_cell(&x, "%d", b->layer_count);
        table_cell(&x, "%d", b->threads);
        table_cell(&x, b->strip > 0 ? "%d" : "auto", b->strip);
        table_cell(&x, "%s", units_bytes(bytes, rows[i].between));
        table_cell(&x, "%.4f", rows[i].predicted_ms);
        table_cell(&x, rows[i].measured_ms > 0 ? "%.4f" : "-", rows[i].measured_ms);
        table_cell(&x, rows[i].alone_ms > 0 ? "%.4f" : "-", rows[i].alone_ms);
    }
    status = alone < count || cli_given(call, "verbose")
                 ? table_print(&x, TABLE_PLAIN, call->out, error)
                 : SPRY_OK;
    table_fini(&x);
    (void)fprintf(call->out, "%d of %d rows are layers by themselves on all %d threads\n", alone,
                  count, spry_tuning_totals(t)->threads);
    return status;
}

static spry_status print_trials(const cli_call *call, const spry_tuning *t, spry_error *error)
{
    static const table_column columns[] = {{"strategy", false},    {"what", false}, {"rows", true},
                                           {"predicted ms", true}, {"ms", true},    {NULL, false}};
    const spry_tune_trial *trials;
    int32_t count = spry_tuning_trials(t, &trials);
    spry_status status;
    table x;

    if (count == 0) {
        return SPRY_OK;
    }
    table_init(&x, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&x, "%s", trials[i].strategy);
        table_cell(&x, "%s", trials[i].what);
        table_cell(&x, "%d", trials[i].blocks);
        table_cell(&x, "%.4f", trials[i].predicted_ms);
        table_cell(&x, trials[i].measured_ms > 0 ? "%.4f" : "-", trials[i].measured_ms);
    }
    status = table_print(&x, TABLE_PLAIN, call->out, error);
    table_fini(&x);
    (void)fprintf(call->out, "\n");
    return status;
}

static spry_status print_text(const cli_call *call, const spry_tuning *t, const char *path,
                              spry_error *error)
{
    const spry_tune_totals *all = spry_tuning_totals(t);
    spry_status status = print_trials(call, t, error);

    if (status == SPRY_OK) {
        status = print_rows(call, t, error);
    }
    (void)fprintf(call->out, "planned in %.0f ms, then %d plans measured\n", all->planning_ms,
                  all->tried);
    if (all->measured_ms > 0) {
        (void)fprintf(call->out,
                      "%.4f ms with the plan, %.4f ms with every layer by itself (%.3fx), %.4f ms "
                      "without a plan (%.3fx)\n",
                      all->measured_ms, all->unfused_ms, all->unfused_ms / all->measured_ms,
                      all->automatic_ms, all->automatic_ms / all->measured_ms);
    } else {
        (void)fprintf(call->out, "%.4f ms are foretold; nothing was measured\n", all->predicted_ms);
    }
    if (all->is_unfused) {
        (void)fprintf(call->out,
                      "no plan was faster than every layer by itself: the plan says just that\n");
    }
    if (path != NULL) {
        (void)fprintf(call->out, "written to %s\n", path);
    }
    return status;
}

/* ---- JSON ---- */

static void write_rows(json_writer *json, const spry_tuning *t)
{
    const spry_tune_row *rows;
    int32_t count = spry_tuning_rows(t, &rows);

    json_write_array(json, "rows");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_array(json, "layers");
        for (int32_t k = 0; k < rows[i].block->layer_count; k++) {
            json_write_string(json, NULL, rows[i].block->layers[k]);
        }
        json_write_end(json);
        json_write_i64(json, "threads", rows[i].block->threads);
        json_write_i64(json, "strip", rows[i].block->strip);
        json_write_i64(json, "between_bytes", rows[i].between);
        json_write_f64(json, "predicted_ms", rows[i].predicted_ms);
        json_write_f64(json, "measured_ms", rows[i].measured_ms);
        json_write_f64(json, "alone_ms", rows[i].alone_ms);
        json_write_end(json);
    }
    json_write_end(json);
}

static spry_status print_json(const cli_call *call, const spry_tuning *t, const char *path,
                              spry_error *error)
{
    const spry_tune_totals *all = spry_tuning_totals(t);
    const output_record record = {.model = call->arguments[0], .threads = all->threads};
    const spry_tune_trial *trials;
    int32_t count = spry_tuning_trials(t, &trials);
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, call);
    json_write_string(json, "plan", path);
    json_write_string(json, "strategy", all->strategy);
    json_write_i64(json, "threads", all->threads);
    json_write_f64(json, "predicted_ms", all->predicted_ms);
    json_write_f64(json, "measured_ms", all->measured_ms);
    json_write_f64(json, "unfused_ms", all->unfused_ms);
    json_write_f64(json, "automatic_ms", all->automatic_ms);
    json_write_f64(json, "planning_ms", all->planning_ms);
    json_write_bool(json, "is_unfused", all->is_unfused);
    json_write_bool(json, "is_guessed", all->is_guessed);
    json_write_bool(json, "was_stopped", all->was_stopped);
    json_write_i64(json, "tried", all->tried);
    write_rows(json, t);
    json_write_array(json, "strategies");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_string(json, "strategy", trials[i].strategy);
        json_write_string(json, "what", trials[i].what);
        json_write_i64(json, "rows", trials[i].blocks);
        json_write_f64(json, "predicted_ms", trials[i].predicted_ms);
        json_write_f64(json, "measured_ms", trials[i].measured_ms);
        json_write_end(json);
    }
    json_write_end(json);
    status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

/* ---- the work ---- */

typedef struct watched {
    progress_bar bar;
    spry_progress hook;
} watched;

/* ^C keeps the best so far. */
static bool report(void *context, const char *task, double done, double total)
{
    watched *w = context;

    return w->bar.hook.report(w->bar.hook.context, task, done, total) && !interrupt_seen();
}

static spry_status tune(const cli_call *call, const subject *s, spry_tune_options *o,
                        spry_tuning **t, spry_error *error)
{
    watched w;
    spry_status status;

    progress_bar_begin(&w.bar, call);
    w.hook = (spry_progress){report, &w};
    o->progress = &w.hook;
    interrupt_begin();
    status = spry_tune(s->model, s->feed, o, t, error);
    if (status == SPRY_OK) {
        interrupt_accept();
    }
    interrupt_end();
    progress_bar_end(&w.bar);
    return status;
}

static void remark(const cli_call *call, const spry_tune_totals *all)
{
    if (all->is_guessed) {
        output_note(call, "this machine was not calibrated by this Spry, so blocks are proposed by "
                          "careful guesses (spry doctor --calibrate measures it)");
    }
    if (all->was_stopped) {
        output_note(call, "stopped: this is the best so far");
    }
    if (all->measured_ms > 0 && all->automatic_ms > 0 && all->automatic_ms < all->measured_ms) {
        output_note(call, "without a plan the model runs at least as fast here");
    }
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const char *path = cli_text(call, "output");
    spry_tune_options o = spry_tune_options_default();
    subject s = {.path = call->arguments[0], .options = spry_session_options_default()};
    spry_tuning *t = NULL;
    spry_status status = parse_budget(cli_text(call, "budget"), &o.seconds, error);

    o.strategy = strategy_of(cli_text(call, "strategy"));
    o.threads = (int)cli_integer(call, "threads");
    o.precision = subject_precision_of(cli_text(call, "precision"));
    o.compare = cli_given(call, "compare");
    o.target = cli_text(call, "target");
    s.options.seed = (uint64_t)cli_integer(call, "seed");
    if (status == SPRY_OK && path != NULL) {
        status = output_check_free(call, path, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, s.path, &s.model, error);
    }
    if (status == SPRY_OK) {
        status = subject_gather(&s, call, error);
    }
    if (status == SPRY_OK) {
        status = tune(call, &s, &o, &t, error);
    }
    if (status == SPRY_OK && path != NULL) {
        status = spry_tuning_save(t, path, error);
    }
    if (status == SPRY_OK) {
        remark(call, spry_tuning_totals(t));
        status = cli_given(call, "json") ? print_json(call, t, path, error)
                                         : print_text(call, t, path, error);
    }
    spry_tuning_destroy(t);
    subject_close(&s);
    return status;
}

const cli_command cmd_tune = {
    .name = "tune",
    .summary = "find which layers run together here, and on how many threads",
    .arguments = "MODEL",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry tune model.onnx -o model.plan.json",
                 "spry tune model.onnx --budget 30s --compare",
                 "spry run model.onnx --plan model.plan.json -i cat.jpg", NULL},
    .description =
        "Cuts the model into blocks of layers. The images between the layers of a block are made "
        "strip by strip and never lie in memory as a whole, which is faster where they do not fit "
        "the caches; each block also gets a number of threads. What spry doctor --calibrate has "
        "measured proposes blocks, and within the budget they are run here, on random inputs "
        "unless some are given. Results are the same bits with and without a plan.\n\n"
        "The plan is for this model, this machine and this number of threads; spry run, bench "
        "and evaluate take it by --plan. A plan that turns out slower than every layer by itself "
        "is not written: the file then says that every layer runs by itself.\n\n"
        "^C ends the search with the best so far.",
    .options = options,
    .run = run,
};
