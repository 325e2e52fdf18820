/* Attention that filters its keys: calibrating, writing, telling. */
#include "cli/adapt/energon.h"

#include <inttypes.h>
#include <string.h>

#include "base/files.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/progress_bar.h"
#include "cli/table.h"
#include "spry/energon.h"

static const char TEXT_KIND[] = "text:";

typedef struct energon_call {
    const cli_call *call;
    spry_energon_options options;
    spry_preprocess recipe;
    spry_tokenizer *tokenizer;
    file_map text;
    bool has_text;
    spry_model *source, *adapted;
    spry_energon *report;
} energon_call;

/* ---- telling ---- */

static spry_status print_layers(const energon_call *c, spry_error *error)
{
    static const table_column columns[] = {
        {"layer", true},   {"dense", true},        {"keys", true},       {"round 1", true},
        {"kept", true},    {"mass", true},         {"cosine", true},     {"may lose", true},
        {"at most", true}, {"4x2-bit MACs", true}, {"exact MACs", true}, {"bytes a key", true},
        {NULL, false}};
    const spry_energon_layer *layers = NULL;
    const spry_energon_head *heads = NULL;
    int32_t count = spry_energon_layers(c->report, &layers);
    table t;
    spry_status status;

    (void)spry_energon_heads(c->report, &heads);
    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        const spry_energon_layer *l = &layers[i];
        double keys = l->keys > 0 ? (double)l->keys : 1.0;
        int32_t dense = 0;

        for (int32_t h = l->first; h < l->first + l->heads; h++) {
            dense += heads[h].is_dense;
        }
        table_cell(&t, "%d", (int)i);
        table_cell(&t, "%d/%d", (int)dense, (int)l->heads);
        table_cell(&t, "%.1f", l->queries > 0 ? keys / (double)l->queries : 0.0);
        table_cell(&t, "%.3f", l->held_out.first);
        table_cell(&t, "%.3f", l->held_out.kept);
        table_cell(&t, "%.4f", l->held_out.mass);
        table_cell(&t, "%.5f", l->held_out.cosine);
        table_cell(&t, "%.3f", l->held_out.certificate);
        table_cell(&t, "%.3f", l->held_out.worst_certificate);
        table_cell(&t, "%" PRId64, l->low_products);
        table_cell(&t, "%" PRId64, l->exact_products);
        table_cell(&t, "%.1f", (double)(l->code_bytes + l->key_bytes + l->value_bytes) / keys);
    }
    status = table_print(&t, TABLE_PLAIN, c->call->out, error);
    table_fini(&t);
    return status;
}

static spry_status print_text(const energon_call *c, spry_error *error)
{
    const spry_energon_head *heads = NULL;
    int32_t count = spry_energon_heads(c->report, &heads);
    int32_t dense = 0;

    for (int32_t i = 0; i < count; i++) {
        dense += heads[i].is_dense;
    }
    (void)fprintf(c->call->out, "method   energon\n");
    (void)fprintf(c->call->out, "heads    %d of %d filter their keys\n", (int)(count - dense),
                  (int)count);
    (void)fprintf(c->call->out, "written  %s\n\n", cli_text(c->call, "output"));
    return print_layers(c, error);
}

static void write_effect(json_writer *json, const char *key, const spry_energon_effect *e)
{
    json_write_object(json, key);
    json_write_f64(json, "kept", e->kept);
    json_write_f64(json, "first_round", e->first);
    json_write_f64(json, "mass", e->mass);
    json_write_f64(json, "cosine", e->cosine);
    json_write_f64(json, "certificate", e->certificate);
    json_write_f64(json, "worst_certificate", e->worst_certificate);
    json_write_end(json);
}

static void write_heads(json_writer *json, const energon_call *c, const spry_energon_layer *l)
{
    const spry_energon_head *heads = NULL;

    (void)spry_energon_heads(c->report, &heads);
    json_write_array(json, "heads");
    for (int32_t i = l->first; i < l->first + l->heads; i++) {
        json_write_object(json, NULL);
        json_write_i64(json, "head", heads[i].head);
        json_write_bool(json, "dense", heads[i].is_dense);
        json_write_f64(json, "scale", (double)heads[i].scale);
        json_write_array(json, "alpha");
        for (int r = 0; r < SPRY_ENERGON_ROUNDS; r++) {
            json_write_f64(json, NULL, heads[i].alpha[r]);
        }
        json_write_end(json);
        write_effect(json, "calibrated", &heads[i].calibrated);
        write_effect(json, "held_out", &heads[i].held_out);
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_layer(json_writer *json, const energon_call *c, const spry_energon_layer *l)
{
    json_write_object(json, NULL);
    json_write_string(json, "name", l->name);
    json_write_i64(json, "size", l->size);
    write_effect(json, "held_out", &l->held_out);
    json_write_i64(json, "queries", l->queries);
    json_write_i64(json, "keys", l->keys);
    json_write_array(json, "kept");
    for (int r = 0; r < SPRY_ENERGON_ROUNDS; r++) {
        json_write_i64(json, NULL, l->kept[r]);
    }
    json_write_end(json);
    json_write_i64(json, "low_products", l->low_products);
    json_write_i64(json, "exact_products", l->exact_products);
    json_write_i64(json, "code_bytes", l->code_bytes);
    json_write_i64(json, "key_bytes", l->key_bytes);
    json_write_i64(json, "value_bytes", l->value_bytes);
    write_heads(json, c, l);
    json_write_end(json);
}

static spry_status print_json(const energon_call *c, spry_error *error)
{
    const output_record record = {.model = c->call->arguments[0],
                                  .threads = (int)cli_integer(c->call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(c->call, "seed")};
    const spry_energon_layer *layers = NULL;
    int32_t count = spry_energon_layers(c->report, &layers);
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, c->call);
    json_write_string(json, "output", cli_text(c->call, "output"));
    json_write_string(json, "method", "energon");
    json_write_f64(json, "target_keep", c->options.keep);
    json_write_array(json, "layers");
    for (int32_t i = 0; i < count; i++) {
        write_layer(json, c, &layers[i]);
    }
    json_write_end(json);
    status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, c->call, error);
}

/* ---- asking ---- */

static spry_status check(const cli_call *call, spry_error *error)
{
    static const char *const senseless[] = {"data", "classes", "apply", "merge", "delta-only"};
    const char *output = cli_text(call, "output");
    size_t length = output != NULL ? strlen(output) : 0;

    if (length < strlen(".onnx") || strcmp(output + length - strlen(".onnx"), ".onnx") != 0) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o adapted.onnx",
                         "no place for the result given");
    }
    if (cli_text(call, "calibrate") == NULL) {
        return spry_fail(error, SPRY_USAGE, "--calibrate",
                         "--calibrate KIND:PATH, as --data of spry evaluate, or text:FILE with "
                         "--vocab",
                         "thresholds are chosen on samples: there are none");
    }
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {
        if (cli_given(call, senseless[i])) {
            return spry_fail(error, SPRY_USAGE, senseless[i], "leave it out",
                             "energon trains nothing");
        }
    }
    return output_check_free(call, output, error);
}

static spry_status open_samples(energon_call *c, spry_error *error)
{
    const char *samples = cli_text(c->call, "calibrate");
    const char *vocab = cli_text(c->call, "vocab");
    spry_status status;

    if (strncmp(samples, TEXT_KIND, sizeof TEXT_KIND - 1) != 0) {
        status = spry_preprocess_parse(cli_text(c->call, "preprocess"), &c->recipe, error);
        c->options.recipe = &c->recipe;
        return status == SPRY_OK ? spry_dataset_open(NULL, samples, &c->options.images, error)
                                 : status;
    }
    if (vocab == NULL) {
        return spry_fail(error, SPRY_USAGE, "--vocab", "give the model's vocabulary",
                         "a text needs a tokenizer");
    }
    status = spry_tokenizer_load(vocab, NULL, &c->tokenizer, error);
    if (status == SPRY_OK) {
        status = file_map_open(samples + sizeof TEXT_KIND - 1, LIMIT_TEXT_BYTES, &c->text, error);
        c->has_text = status == SPRY_OK;
    }
    if (c->has_text) {
        c->options.text = (const char *)c->text.data;
        c->options.text_size = c->text.size;
        c->options.tokenizer = c->tokenizer;
    }
    return status;
}

static spry_status perform(energon_call *c, spry_error *error)
{
    const cli_call *call = c->call;
    spry_energon_options *o = &c->options;
    progress_bar bar;
    spry_status status = check(call, error);

    *o = spry_energon_options_default();
    o->keep = cli_number(call, "target-keep");
    o->cosine = cli_given(call, "cosine") ? cli_number(call, "cosine") : o->cosine;
    o->limit = cli_given(call, "limit") ? cli_integer(call, "limit") : o->limit;
    o->window = cli_given(call, "window") ? cli_integer(call, "window") : o->window;
    o->threads = (int)cli_integer(call, "threads");
    if (status == SPRY_OK) {
        status = open_samples(c, error);
    }
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, call->arguments[0], &c->source, error);
    }
    if (status == SPRY_OK) {
        progress_bar_begin(&bar, call);
        o->progress = &bar.hook;
        status = spry_energon_adapt(c->source, o, &c->adapted, &c->report, error);
        progress_bar_end(&bar);
    }
    if (status == SPRY_OK) {
        status = spry_model_save(c->adapted, cli_text(call, "output"), error);
    }
    if (status == SPRY_OK && spry_energon_dropped_outputs(c->report) > 0) {
        output_note(call, "%d output(s) that show maps of attention are left out",
                    (int)spry_energon_dropped_outputs(c->report));
    }
    if (status != SPRY_OK) {
        return status;
    }
    return cli_given(call, "json") ? print_json(c, error) : print_text(c, error);
}

spry_status adapt_energon(const cli_call *call, spry_error *error)
{
    energon_call c = {.call = call};
    spry_status status = perform(&c, error);

    spry_energon_destroy(c.report);
    spry_model_destroy(c.adapted);
    spry_model_destroy(c.source);
    spry_dataset_close(c.options.images);
    spry_tokenizer_destroy(c.tokenizer);
    if (c.has_text) {
        file_map_close(&c.text);
    }
    return status;
}
