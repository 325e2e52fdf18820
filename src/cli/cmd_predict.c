/* spry predict: how long a network takes on a described machine, and what leaving parts of it out
 * would save. */
#include <inttypes.h>
#include <string.h>

#include "base/parse.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "spry/architecture.h"
#include "spry/predict.h"

enum { MOST_SET = 64 };

static const char *const skips[] = {"squares", "channels", "layers", NULL};
static const char *const halos[] = {"random", "ignore", NULL};

static const cli_option options[] = {
    {.name = "target",
     .kind = CLI_PATH,
     .value = "NAME|FILE",
     .fallback = "cpu",
     .help =
         "the machine: v100, rtx3090, rtx3060, tx2, nano, cpu (this one, once calibrated), or a "
         "description of one"},
    {.name = "set",
     .kind = CLI_TEXT,
     .value = "KEY=VALUE",
     .repeats = true,
     .help = "change the machine: memory.dram.bandwidth=\"900 GB/s\""},
    {.name = "density",
     .kind = CLI_NUMBER,
     .value = "R",
     .fallback = "0.5",
     .lowest = 0,
     .highest = 1,
     .help = "share that is computed"},
    {.name = "granularity",
     .kind = CLI_TEXT,
     .value = "S-S-S-S",
     .fallback = "auto",
     .help = "pixels along the side of a square, per stage; auto takes what is recommended"},
    {.name = "skip",
     .kind = CLI_CHOICE,
     .value = "WHAT",
     .fallback = "squares",
     .choices = skips,
     .help = "what is left out"},
    {.name = "halo",
     .kind = CLI_CHOICE,
     .value = "HOW",
     .fallback = "random",
     .choices = halos,
     .help = "pixels around squares that the first convolution needs"},
    {.name = "compat",
     .kind = CLI_FLAG,
     .help = "count as the published predictor does, also where it errs; --halo is then ignore"},
    {.name = "sweep", .kind = CLI_FLAG, .help = "also squares and densities in a table"},
    {0},
};

/* ---- options ---- */

/* 4-4-2-1 */
static spry_status parse_granularity(const cli_call *call, spry_predict_options *o,
                                     spry_error *error)
{
    const char *word = cli_text(call, "granularity");
    const char *rest = word;

    if (strcmp(word, "auto") == 0) {
        return SPRY_OK;
    }
    while (rest != NULL) {
        size_t length = strcspn(rest, "-");
        char number[16] = "";
        int64_t side;

        if (length < sizeof number) {
            memcpy(number, rest, length);
            number[length] = '\0';
        }
        if (!parse_i64(number, 1, 65536, &side)) {
            return spry_fail(error, SPRY_USAGE, "--granularity",
                             "write one number of pixels per stage: 4-4-2-1",
                             "'%.40s' has a size that is no whole number from 1 to 65536", word);
        }
        if (o->granularity_count == SPRY_PREDICT_STAGES) {
            return spry_fail(error, SPRY_USAGE, "--granularity", NULL, "more than %d stages",
                             (int)SPRY_PREDICT_STAGES);
        }
        o->granularity[o->granularity_count++] = side;
        rest = rest[length] == '-' ? rest + length + 1 : NULL;
    }
    return SPRY_OK;
}

static spry_status gather(const cli_call *call, spry_predict_options *o, const char **set,
                          spry_error *error)
{
    const char *word;

    *o = spry_predict_options_default();
    o->target = cli_text(call, "target");
    o->density = cli_number(call, "density");
    o->as_published = cli_given(call, "compat");
    o->ignore_halo = o->as_published || strcmp(cli_text(call, "halo"), "ignore") == 0;
    while (strcmp(skips[o->skip], cli_text(call, "skip")) != 0) {
        o->skip = (spry_predict_skip)(o->skip + 1);
    }
    for (int i = 0; (word = cli_value(call, "set", i)) != NULL; i++) {
        if (i == MOST_SET) {
            return spry_fail(error, SPRY_USAGE, "--set", NULL, "given more than %d times",
                             (int)MOST_SET);
        }
        set[o->set_count++] = word;
    }
    o->set = set;
    return parse_granularity(call, o, error);
}

static bool is_architecture(const char *word)
{
    const spry_architecture *a;

    for (const char *const *name = spry_predict_names(); *name != NULL; name++) {
        if (strcmp(*name, word) == 0) {
            return true;
        }
    }
    for (int32_t i = 0; (a = spry_architecture_at(i)) != NULL; i++) {
        if (strcmp(a->name, word) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- text ---- */

static double ratio(double dense, double sparse)
{
    return sparse > 0 ? dense / sparse : 0;
}

static spry_status print_blocks(const cli_call *call, const spry_prediction *p, spry_error *error)
{
    static const table_column columns[] = {
        {"block", false}, {"stage", true},    {"output", true},
        {"square", true}, {"dense ms", true}, {"sparse ms", true},
        {"speed", true},  {"masker", false},  {NULL, false}};
    const spry_predict_block *rows = NULL;
    int32_t count = spry_prediction_blocks(p, &rows);
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%s", rows[i].name);
        table_cell(&t, "%d", (int)rows[i].stage + 1);
        table_cell(&t, "%" PRId64 "x%" PRId64 "x%" PRId64, rows[i].channels, rows[i].height,
                   rows[i].width);
        table_cell(&t, "%" PRId64, rows[i].granularity);
        table_cell(&t, "%.4f", rows[i].dense_ms);
        table_cell(&t, "%.4f", rows[i].sparse_ms);
        table_cell(&t, "%.2fx", ratio(rows[i].dense_ms, rows[i].sparse_ms));
        table_cell(&t, "%s", rows[i].fused ? "in conv 1" : "apart");
    }
    status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_stages(const cli_call *call, const spry_prediction *p, spry_error *error)
{
    static const table_column columns[] = {
        {"stage", true},      {"blocks", true},   {"map", true},       {"square", true},
        {"advice", true},     {"dense ms", true}, {"sparse ms", true}, {"speed", true},
        {"break-even", true}, {NULL, false}};
    const spry_predict_stage *rows = NULL;
    const spry_predict_totals *all = spry_prediction_totals(p);
    int32_t count = spry_prediction_stages(p, &rows);
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        table_cell(&t, "%d", (int)i + 1);
        table_cell(&t, "%d", (int)rows[i].blocks);
        table_cell(&t, "%" PRId64 "x%" PRId64, rows[i].height, rows[i].width);
        table_cell(&t, "%" PRId64, rows[i].granularity);
        table_cell(&t, "%" PRId64, rows[i].recommended);
        table_cell(&t, "%.4f", rows[i].dense_ms);
        table_cell(&t, "%.4f", rows[i].sparse_ms);
        table_cell(&t, "%.2fx", ratio(rows[i].dense_ms, rows[i].sparse_ms));
        table_cell(&t, "%.3f", rows[i].break_even);
    }
    for (int i = 0; i < 5; i++) {
        table_cell(&t, "%s", i == 0 ? "all" : "");
    }
    table_cell(&t, "%.4f", all->dense_ms);
    table_cell(&t, "%.4f", all->sparse_ms);
    table_cell(&t, "%.2fx", ratio(all->dense_ms, all->sparse_ms));
    table_cell(&t, "%.3f", all->break_even);
    status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static const double sweep_densities[] = {0.1, 0.3, 0.5, 0.7, 1.0};
static const int64_t sweep_sides[] = {1, 2, 4, 8, 14, 28};

enum {
    SWEEP_DENSITIES = sizeof sweep_densities / sizeof *sweep_densities,
    SWEEP_SIDES = sizeof sweep_sides / sizeof *sweep_sides
};

static spry_status print_sweep(const cli_call *call, const spry_prediction *p, spry_error *error)
{
    static const table_column columns[] = {{"square", true}, {"R = 0.1 ms", true}, {"0.3", true},
                                           {"0.5", true},    {"0.7", true},        {"1.0", true},
                                           {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int i = 0; i < SWEEP_SIDES; i++) {
        table_cell(&t, "%" PRId64, sweep_sides[i]);
        for (int k = 0; k < SWEEP_DENSITIES; k++) {
            table_cell(&t, "%.4f", spry_prediction_at(p, sweep_sides[i], sweep_densities[k]));
        }
    }
    (void)fprintf(call->out, "\n");
    status = table_print(&t, TABLE_PLAIN, call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_text(const cli_call *call, const spry_prediction *p, const char *target,
                              spry_error *error)
{
    const spry_predict_totals *t = spry_prediction_totals(p);
    const spry_predict_block *rows = NULL;
    spry_status status = SPRY_OK;

    (void)fprintf(call->out, "%s on %s, %" PRId64 " image%s at a time, per image\n",
                  call->arguments[0], target, t->batch, t->batch == 1 ? "" : "s");
    if (spry_prediction_blocks(p, &rows) > 0) {
        status = print_blocks(call, p, error);
        (void)fprintf(call->out, "\n");
        if (status == SPRY_OK) {
            status = print_stages(call, p, error);
        }
    } else {
        output_note(call, "no residual blocks: nothing can be left out");
    }
    if (t->outside_ms > 0) {
        (void)fprintf(call->out, "convolutions outside of blocks: %.4f ms\n", t->outside_ms);
    }
    if (status == SPRY_OK && cli_given(call, "sweep")) {
        status = print_sweep(call, p, error);
    }
    return status;
}

/* ---- JSON ---- */

static void write_block(json_writer *json, const spry_predict_block *b)
{
    json_write_object(json, NULL);
    json_write_string(json, "name", b->name);
    json_write_i64(json, "stage", b->stage + 1);
    json_write_i64(json, "channels", b->channels);
    json_write_i64(json, "height", b->height);
    json_write_i64(json, "width", b->width);
    json_write_i64(json, "granularity", b->granularity);
    json_write_f64(json, "dense_ms", b->dense_ms);
    json_write_f64(json, "sparse_ms", b->sparse_ms);
    json_write_bool(json, "masker_fused", b->fused);
    json_write_end(json);
}

static void write_stage(json_writer *json, const spry_predict_stage *s)
{
    json_write_object(json, NULL);
    json_write_i64(json, "blocks", s->blocks);
    json_write_i64(json, "height", s->height);
    json_write_i64(json, "width", s->width);
    json_write_i64(json, "granularity", s->granularity);
    json_write_i64(json, "recommended", s->recommended);
    json_write_f64(json, "dense_ms", s->dense_ms);
    json_write_f64(json, "sparse_ms", s->sparse_ms);
    json_write_f64(json, "break_even", s->break_even);
    json_write_end(json);
}

static void write_sweep(json_writer *json, const spry_prediction *p)
{
    json_write_array(json, "sweep");
    for (int i = 0; i < SWEEP_SIDES; i++) {
        for (int k = 0; k < SWEEP_DENSITIES; k++) {
            json_write_object(json, NULL);
            json_write_i64(json, "granularity", sweep_sides[i]);
            json_write_f64(json, "density", sweep_densities[k]);
            json_write_f64(json, "ms", spry_prediction_at(p, sweep_sides[i], sweep_densities[k]));
            json_write_end(json);
        }
    }
    json_write_end(json);
}

static spry_status print_json(const cli_call *call, const spry_prediction *p,
                              const spry_predict_options *o, const char *model, spry_error *error)
{
    const spry_predict_totals *t = spry_prediction_totals(p);
    const spry_predict_block *blocks = NULL;
    const spry_predict_stage *stages = NULL;
    int32_t block_count = spry_prediction_blocks(p, &blocks);
    int32_t stage_count = spry_prediction_stages(p, &stages);
    const output_record record = {.model = model};
    output_document document;
    spry_status status;

    output_begin(&document, call);
    json_write_string(&document.json, "network", call->arguments[0]);
    json_write_string(&document.json, "target", o->target);
    json_write_string(&document.json, "target_read", spry_prediction_target(p));
    json_write_string(&document.json, "skip", skips[o->skip]);
    json_write_string(&document.json, "halo", o->ignore_halo ? "ignore" : "random");
    json_write_bool(&document.json, "compat", o->as_published);
    json_write_f64(&document.json, "density", o->density);
    json_write_i64(&document.json, "batch", t->batch);
    json_write_f64(&document.json, "dense_ms", t->dense_ms);
    json_write_f64(&document.json, "sparse_ms", t->sparse_ms);
    json_write_f64(&document.json, "outside_ms", t->outside_ms);
    json_write_f64(&document.json, "break_even", t->break_even);
    json_write_array(&document.json, "stages");
    for (int32_t i = 0; i < stage_count; i++) {
        write_stage(&document.json, &stages[i]);
    }
    json_write_end(&document.json);
    json_write_array(&document.json, "blocks");
    for (int32_t i = 0; i < block_count; i++) {
        write_block(&document.json, &blocks[i]);
    }
    json_write_end(&document.json);
    if (cli_given(call, "sweep")) {
        write_sweep(&document.json, p);
    }
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const char *word = call->arguments[0];
    const char *path = is_architecture(word) ? NULL : word;
    const char *set[MOST_SET];
    spry_predict_options o;
    spry_model *model = NULL;
    spry_prediction *p = NULL;
    spry_status status = gather(call, &o, set, error);

    if (status == SPRY_OK && path != NULL) {
        status = spry_model_load(NULL, path, &model, error);
    }
    if (status == SPRY_OK) {
        status = spry_predict(NULL, word, model, &o, &p, error);
    }
    if (status == SPRY_OK) {
        status = cli_given(call, "json") ? print_json(call, p, &o, path, error)
                                         : print_text(call, p, o.target, error);
    }
    spry_prediction_destroy(p);
    spry_model_destroy(model);
    return status;
}

const cli_command cmd_predict = {
    .name = "predict",
    .summary = "how long a network takes on a described machine",
    .arguments = "MODEL|ARCHITECTURE",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry predict resnet101 --target v100 --density 0.5",
                 "spry predict model.onnx --target tx2 --granularity 4-4-2-1", NULL},
    .description =
        "Predicts the time of the residual blocks of a convolutional network on a machine that is "
        "described by data, and what it would be if only a share of each block's output were "
        "computed: squares of pixels chosen by a mask, channels, or whole blocks. Recommends a "
        "size "
        "of square for each stage, and says up to which density it pays.\n\n"
        "Blocks are found by their structure. resnet50, resnet101, regnety-400m and regnety-800m "
        "are known as tables; other architectures are those of spry new.",
    .options = options,
    .run = run,
};
