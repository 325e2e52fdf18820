/* What attention heads look at: running, the table, JSON. */
#include "cli/inspect/heads.h"
#include "cli/inspect/heads_picture.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/files.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/table.h"

spry_status inspect_heads_check(const cli_call *call, spry_error *error)
{
    static const char *const own[] = {"text",   "vocab",        "window", "limit",   "clusters",
                                      "ablate", "special-rows", "seed",   "threads", "svg"};
    static const char *const others[] = {"set", "nodes", "input", "data", "samples"};
    bool is_asked = cli_given(call, "heads");

    for (size_t i = 0; !is_asked && i < sizeof own / sizeof own[0]; i++) {
        if (cli_given(call, own[i])) {
            return spry_fail(error, SPRY_USAGE, own[i], "add --heads, or leave it out",
                             "the option says how heads are looked at");
        }
    }
    for (size_t i = 0; is_asked && i < sizeof others / sizeof others[0]; i++) {
        if (cli_given(call, others[i])) {
            return spry_fail(error, SPRY_USAGE, others[i], "leave one of them out",
                             "it says nothing of --heads");
        }
    }
    for (size_t i = 0; is_asked && i < 2; i++) {
        if (cli_text(call, own[i]) == NULL) {
            return spry_fail(error, SPRY_USAGE, own[i],
                             "spry inspect MODEL --heads --text FILE --vocab FILE",
                             "the option is missing");
        }
    }
    return SPRY_OK;
}

char inspect_heads_letter(int32_t cluster)
{
    return (char)('A' + cluster);
}

/* ---- text ---- */

static void print_totals(FILE *out, const spry_heads_totals *t, int32_t heads)
{
    (void)fprintf(out,
                  "heads       %d in %d layers%s\ntext        %d sequences of %" PRId64
                  " tokens, %.2f s in the model, %.2f s in all\n",
                  (int)heads, (int)t->layers, t->is_causal ? ", causal" : "", (int)t->sequences,
                  t->tokens, t->run_seconds, t->seconds);
    if (!t->has_structure) {
        (void)fprintf(out,
                      "clusters    no structure: no number of clusters is better than chance\n");
        return;
    }
    (void)fprintf(out, "clusters    %d, silhouette %.3f (by chance %.3f +- %.3f)\n",
                  (int)t->clusters, t->silhouette, t->null_mean, t->null_deviation);
    if (isfinite(t->stability)) {
        (void)fprintf(out, "stability   %.3f between resamplings of the sequences", t->stability);
        (void)fprintf(out, isfinite(t->agreement) ? ", %.3f with average linkage\n" : "\n",
                      t->agreement);
    }
}

static void print_map(FILE *out, const spry_head *list, int32_t count, int32_t layers)
{
    int32_t at = 0;

    (void)fputs("\nlayer  heads\n", out);
    for (int32_t layer = 0; layer < layers; layer++) {
        (void)fprintf(out, "%5d  ", (int)layer);
        for (; at < count && list[at].layer == layer; at++) {
            (void)fputc(inspect_heads_letter(list[at].cluster), out);
            (void)fputc(' ', out);
        }
        (void)fputc('\n', out);
    }
}

static spry_status print_clusters(FILE *out, const spry_heads *heads, spry_error *error)
{
    static const table_column columns[] = {
        {"cluster", false}, {"pattern", false},    {"heads", true},   {"distance", true},
        {"tokens", true},   {"entropy", true},     {"columns", true}, {"prev", true},
        {"self", true},     {"next", true},        {"band 4", true},  {"first", true},
        {"special", true},  {"consistency", true}, {"medoid", false}, {NULL, false}};
    const spry_heads_cluster *list = NULL;
    const spry_head *all = NULL;
    int32_t count = spry_heads_clusters(heads, &list);
    table t;

    (void)spry_heads_list(heads, &all);
    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        const double *f = list[i].centre;

        table_cell(&t, "%c", inspect_heads_letter(i));
        table_cell(&t, "%s%s", list[i].pattern, list[i].is_mixed ? " (mixed)" : "");
        table_cell(&t, "%d", (int)list[i].count);
        table_cell(&t, "%.3f", f[SPRY_HEAD_DISTANCE]);
        table_cell(&t, "%.1f", f[SPRY_HEAD_REACH] * 64);
        table_cell(&t, "%.3f", f[SPRY_HEAD_ENTROPY]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_COLUMNS]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_PREVIOUS]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_BAND_0]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_NEXT]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_BAND_4]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_FIRST]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_SPECIAL]);
        table_cell(&t, "%.3f", f[SPRY_HEAD_CONSISTENCY]);
        table_cell(&t, "%d.%d", (int)all[list[i].medoid].layer, (int)all[list[i].medoid].head);
    }
    (void)fputc('\n', out);
    spry_status status = table_print(&t, TABLE_PLAIN, out, error);
    table_fini(&t);
    return status;
}

static void cell_or_dash(table *t, const char *format, double number)
{
    char shown[64] = "-";

    if (isfinite(number)) {
        (void)snprintf(shown, sizeof shown, format, number);
    }
    table_cell(t, "%s", shown);
}

static spry_status print_functions(FILE *out, const spry_heads *heads, spry_error *error)
{
    static const table_column columns[] = {
        {"cluster", false}, {"removed", true},      {"random", true},       {"z", true},
        {"uniform", true},  {"pattern only", true}, {"within 4", true},     {"within 16", true},
        {"loss", true},     {"uniform", true},      {"pattern only", true}, {NULL, false}};
    const spry_heads_cluster *list = NULL;
    spry_heads_totals totals = spry_heads_describe(heads);
    int32_t count = spry_heads_clusters(heads, &list);
    table t;

    if (count == 0 || !isfinite(list[0].removed)) {
        return SPRY_OK;
    }
    (void)fprintf(out, "\nHow far the outputs move, by their length, without a cluster's heads%s\n",
                  isfinite(totals.loss) ? "; loss of the next token" : "");
    if (isfinite(totals.loss)) {
        (void)fprintf(out, "loss of the whole model %.4f\n", totals.loss);
    }
    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        const spry_heads_cluster *c = &list[i];

        table_cell(&t, "%c", inspect_heads_letter(i));
        cell_or_dash(&t, "%.4f", c->removed);
        cell_or_dash(&t, "%.4f", c->random_mean);
        cell_or_dash(&t, "%+.1f", (c->removed - c->random_mean) / c->random_deviation);
        cell_or_dash(&t, "%.4f", c->uniform);
        cell_or_dash(&t, "%.4f", c->substituted);
        cell_or_dash(&t, "%.4f", c->limited[2]);
        cell_or_dash(&t, "%.4f", c->limited[4]);
        cell_or_dash(&t, "%.4f", c->loss_removed);
        cell_or_dash(&t, "%.4f", c->loss_uniform);
        cell_or_dash(&t, "%.4f", c->loss_substituted);
    }
    spry_status status = table_print(&t, TABLE_PLAIN, out, error);
    table_fini(&t);
    return status;
}

static spry_status print_text(const cli_call *call, const spry_heads *heads, spry_error *error)
{
    spry_heads_totals totals = spry_heads_describe(heads);
    const spry_head *list = NULL;
    int32_t count = spry_heads_list(heads, &list);

    print_totals(call->out, &totals, count);
    print_map(call->out, list, count, totals.layers);
    spry_status status = print_clusters(call->out, heads, error);
    return status == SPRY_OK ? print_functions(call->out, heads, error) : status;
}

/* ---- JSON ---- */

static void write_number(json_writer *json, const char *key, double number)
{
    if (isfinite(number)) {
        json_write_f64(json, key, number);
    } else {
        json_write_null(json, key);
    }
}

static void write_features(json_writer *json, const char *key, const double *features)
{
    json_write_object(json, key);
    for (int i = 0; i < SPRY_HEAD_FEATURES; i++) {
        json_write_f64(json, spry_head_feature_name(i), features[i]);
    }
    json_write_end(json);
}

static void write_numbers(json_writer *json, const char *key, const double *numbers, int count)
{
    json_write_array(json, key);
    for (int i = 0; i < count; i++) {
        write_number(json, NULL, numbers[i]);
    }
    json_write_end(json);
}

static void write_cluster(json_writer *json, const spry_heads_cluster *c, int32_t number)
{
    const char letter[] = {inspect_heads_letter(number), '\0'};

    json_write_object(json, NULL);
    json_write_string(json, "cluster", letter);
    json_write_string(json, "pattern", c->pattern);
    json_write_bool(json, "mixed", c->is_mixed);
    json_write_i64(json, "heads", c->count);
    json_write_i64(json, "medoid", c->medoid);
    write_features(json, "centre", c->centre);
    if (isfinite(c->removed)) {
        json_write_object(json, "ablation");
        write_number(json, "removed", c->removed);
        write_number(json, "uniform", c->uniform);
        write_number(json, "substituted", c->substituted);
        write_number(json, "random_mean", c->random_mean);
        write_number(json, "random_deviation", c->random_deviation);
        write_number(json, "loss_removed", c->loss_removed);
        write_number(json, "loss_uniform", c->loss_uniform);
        write_number(json, "loss_substituted", c->loss_substituted);
        write_numbers(json, "limited", c->limited, (int)(sizeof c->limited / sizeof c->limited[0]));
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_totals(json_writer *json, const spry_heads_totals *t)
{
    json_write_i64(json, "layers", t->layers);
    json_write_bool(json, "causal", t->is_causal);
    json_write_i64(json, "sequences", t->sequences);
    json_write_i64(json, "tokens", t->tokens);
    json_write_bool(json, "has_structure", t->has_structure);
    json_write_i64(json, "clusters", t->clusters);
    json_write_f64(json, "silhouette", t->silhouette);
    json_write_f64(json, "null_mean", t->null_mean);
    json_write_f64(json, "null_deviation", t->null_deviation);
    write_number(json, "stability", t->stability);
    write_number(json, "agreement", t->agreement);
    write_number(json, "loss", t->loss);
    json_write_f64(json, "run_seconds", t->run_seconds);
    json_write_f64(json, "seconds", t->seconds);
}

static void write_lists(json_writer *json, const spry_heads *heads)
{
    const spry_head *list = NULL;
    const spry_heads_cluster *clusters = NULL;
    const spry_heads_choice *choices = NULL;
    int32_t count = spry_heads_choices(heads, &choices);

    json_write_array(json, "choices");
    for (int32_t i = 0; i < count; i++) {
        json_write_object(json, NULL);
        json_write_i64(json, "clusters", choices[i].clusters);
        json_write_f64(json, "inertia", choices[i].inertia);
        json_write_f64(json, "silhouette", choices[i].silhouette);
        json_write_end(json);
    }
    json_write_end(json);
    count = spry_heads_clusters(heads, &clusters);
    json_write_array(json, "cluster_list");
    for (int32_t i = 0; i < count; i++) {
        write_cluster(json, &clusters[i], i);
    }
    json_write_end(json);
    count = spry_heads_list(heads, &list);
    json_write_array(json, "heads");
    for (int32_t i = 0; i < count; i++) {
        const char letter[] = {inspect_heads_letter(list[i].cluster), '\0'};

        json_write_object(json, NULL);
        json_write_i64(json, "layer", list[i].layer);
        json_write_i64(json, "head", list[i].head);
        json_write_string(json, "cluster", letter);
        json_write_string(json, "pattern", list[i].pattern);
        write_features(json, "mean", list[i].mean);
        write_features(json, "deviation", list[i].deviation);
        write_numbers(json, "profile", list[i].profile, SPRY_HEADS_PROFILE);
        json_write_end(json);
    }
    json_write_end(json);
}

static spry_status print_json(const cli_call *call, const spry_heads *heads, spry_error *error)
{
    const output_record record = {.model = call->arguments[0],
                                  .threads = (int)cli_integer(call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(call, "seed")};
    spry_heads_totals totals = spry_heads_describe(heads);
    output_document document;

    output_begin(&document, call);
    json_write_string(&document.json, "model", call->arguments[0]);
    json_write_string(&document.json, "text", cli_text(call, "text"));
    write_totals(&document.json, &totals);
    write_lists(&document.json, heads);
    spry_status status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

/* ---- the command ---- */

static spry_status tell(const cli_call *call, const spry_heads *heads, spry_error *error)
{
    const char *page = cli_text(call, "html");
    const char *picture = cli_text(call, "svg");
    spry_status status = page != NULL ? inspect_heads_page(call, heads, page, error) : SPRY_OK;

    if (status == SPRY_OK && page != NULL) {
        output_note(call, "wrote %s", page);
    }
    if (status == SPRY_OK && picture != NULL) {
        status = heads_picture_write(heads, picture, error);
    }
    if (status == SPRY_OK && picture != NULL) {
        output_note(call, "wrote %s", picture);
    }
    if (status != SPRY_OK) {
        return status;
    }
    return cli_given(call, "json") ? print_json(call, heads, error)
                                   : print_text(call, heads, error);
}

static spry_status look(const cli_call *call, const spry_model *model,
                        const spry_tokenizer *tokenizer, spry_error *error)
{
    spry_heads_options asked = spry_heads_options_default();
    spry_heads *heads = NULL;
    progress_bar bar;
    file_map file;
    spry_status status = file_map_open(cli_text(call, "text"), LIMIT_TEXT_BYTES, &file, error);

    if (status != SPRY_OK) {
        return status;
    }
    progress_bar_begin(&bar, call);
    asked.window = cli_integer(call, "window");
    asked.limit = cli_integer(call, "limit");
    asked.clusters = (int32_t)cli_integer(call, "clusters");
    asked.keep_special_rows = cli_given(call, "special-rows");
    asked.ablate = cli_given(call, "ablate");
    asked.seed = (uint64_t)cli_integer(call, "seed");
    asked.threads = (int)cli_integer(call, "threads");
    asked.progress = &bar.hook;
    status = spry_heads_inspect(model, tokenizer, (const char *)file.data, file.size, &asked,
                                &heads, error);
    progress_bar_end(&bar);
    file_map_close(&file);
    status = status == SPRY_OK ? tell(call, heads, error) : status;
    spry_heads_destroy(heads);
    return status;
}

spry_status inspect_heads(const cli_call *call, spry_error *error)
{
    spry_model *model = NULL;
    spry_tokenizer *tokenizer = NULL;
    const char *page = cli_text(call, "html");
    const char *picture = cli_text(call, "svg");
    spry_status status = page != NULL ? output_check_free(call, page, error) : SPRY_OK;

    if (status == SPRY_OK && picture != NULL) {
        status = output_check_free(call, picture, error);
    }
    if (status == SPRY_OK) {
        status = spry_tokenizer_load(cli_text(call, "vocab"), NULL, &tokenizer, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, call->arguments[0], &model, error);
    }
    status = status == SPRY_OK ? look(call, model, tokenizer, error) : status;
    spry_model_destroy(model);
    spry_tokenizer_destroy(tokenizer);
    return status;
}
