/* Tables and JSON of a comparison. */
#include "cli/compare_report.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "cli/output.h"
#include "cli/table.h"

enum { MOST_SUSPECTS = 10 };

/* Noise as part of signal and noise. */
static double noise_part(double sqnr_db)
{
    return 1.0 / (1.0 + pow(10.0, sqnr_db / 10.0));
}

/* By how much that part grows where precision falls: the first decibels below equality are many,
 * and mean little. */
static double noise_added(const spry_difference *d)
{
    return d->suspicion > 0 ? noise_part(d->sqnr_db) - noise_part(d->sqnr_db + d->suspicion) : 0.0;
}

static int compare_noise(const void *a, const void *b)
{
    double x = noise_added(*(const spry_difference *const *)a);
    double y = noise_added(*(const spry_difference *const *)b);

    return (x < y) - (x > y);
}

/* The rows at which signal-to-noise falls, those that add most noise first; returns how many. */
static int find_suspects(arena *memory, const spry_difference *rows, int32_t count,
                         const spry_difference **suspects)
{
    const spry_difference **all = arena_array(memory, (size_t)count + 1, sizeof *all);
    int found = 0;

    if (all == NULL) {
        return 0;
    }
    for (int32_t i = 0; i < count; i++) {
        all[i] = &rows[i];
    }
    qsort(all, (size_t)count, sizeof *all, compare_noise);
    while (found < count && found < MOST_SUSPECTS && all[found]->suspicion > 0) {
        suspects[found] = all[found];
        found++;
    }
    return found;
}

static void add_row(table *t, const spry_difference *d)
{
    table_cell(t, "%s", d->name);
    table_cell(t, "%.3g", d->max_abs);
    table_cell(t, "%.3g", d->max_rel);
    table_cell(t, "%.6f", d->cosine);
    if (isinf(d->sqnr_db) && d->sqnr_db > 0) {
        table_cell(t, "%s", "equal");
    } else {
        table_cell(t, "%.1f", d->sqnr_db);
    }
    if (d->agreement < 0) {
        table_cell(t, "%s", "");
    } else {
        table_cell(t, "%.2f", 100 * d->agreement);
    }
}

static spry_status print_table(const compare_told *c, const char *title,
                               const spry_difference *const *rows, int32_t count, spry_error *error)
{
    const table_column columns[] = {{title, false},   {"max abs", true}, {"of range", true},
                                    {"cosine", true}, {"SQNR dB", true}, {"same best %", true},
                                    {NULL, false}};
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < count; i++) {
        add_row(&t, rows[i]);
    }
    spry_status status = table_print(&t, TABLE_PLAIN, c->call->out, error);
    table_fini(&t);
    return status;
}

/* What to do about the worst. */
static void hint(const compare_told *c, const spry_difference *const *suspects, int found)
{
    char label[512];

    if (found > 0 &&
        spry_model_find_layer(c->layers, suspects[0]->name, label, sizeof label) != NULL) {
        output_note(c->call,
                    "look at %s first; spry quantize --bits NODE=8 or --exclude NODE keeps it more "
                    "precise",
                    label);
    }
}

spry_status compare_print_text(const compare_told *c, const spry_difference *rows, int32_t count,
                               spry_error *error)
{
    const spry_difference *suspects[MOST_SUSPECTS];
    const spry_difference **all = arena_array(c->memory, (size_t)count + 1, sizeof *all);

    if (all == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *all);
    }
    for (int32_t i = 0; i < count; i++) {
        all[i] = &rows[i];
    }
    spry_status status = print_table(c, "tensor", all, count, error);
    if (status == SPRY_OK && cli_given(c->call, "layers")) {
        int found = find_suspects(c->memory, rows, count, suspects);
        (void)fputc('\n', c->call->out);
        status = print_table(c, "where precision falls", suspects, found, error);
        hint(c, suspects, found);
    }
    return status;
}

static void write_row(json_writer *json, const spry_difference *d)
{
    json_write_object(json, NULL);
    json_write_string(json, "name", d->name);
    json_write_i64(json, "elements", d->elements);
    json_write_i64(json, "odd", d->odd);
    json_write_f64(json, "max_abs", d->max_abs);
    json_write_f64(json, "mean_abs", d->mean_abs);
    json_write_f64(json, "range", d->range);
    json_write_f64(json, "max_rel", d->max_rel);
    json_write_f64(json, "cosine", d->cosine);
    json_write_f64(json, "sqnr_db", d->sqnr_db);
    if (d->agreement < 0) {
        json_write_null(json, "agreement");
    } else {
        json_write_f64(json, "agreement", d->agreement);
    }
    json_write_end(json);
}

/* The last rows are the models' own outputs. */
spry_status compare_print_json(const compare_told *c, const spry_difference *rows, int32_t count,
                               int32_t results, spry_error *error)
{
    const output_record record = output_record_of(c->path, c->options);
    const spry_difference *suspects[MOST_SUSPECTS];
    char label[512];
    output_document document;

    output_begin(&document, c->call);
    json_writer *json = &document.json;
    json_write_string(json, "against", c->call->arguments[1]);
    json_write_i64(json, "runs", c->runs);
    json_write_array(json, "outputs");
    for (int32_t i = count - results; i < count; i++) {
        write_row(json, &rows[i]);
    }
    json_write_end(json);
    if (cli_given(c->call, "layers")) {
        json_write_array(json, "layers");
        for (int32_t i = 0; i < count - results; i++) {
            write_row(json, &rows[i]);
        }
        json_write_end(json);
        int found = find_suspects(c->memory, rows, count, suspects);
        json_write_array(json, "suspects");
        for (int i = 0; i < found; i++) {
            json_write_string(json, NULL, suspects[i]->name);
        }
        json_write_end(json);
        if (found > 0 &&
            spry_model_find_layer(c->layers, suspects[0]->name, label, sizeof label) != NULL) {
            json_write_string(json, "look_at", label);
        }
    }
    spry_status status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, c->call, error);
}
