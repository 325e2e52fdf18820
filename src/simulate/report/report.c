#include "simulate/report/report.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static const size_t most_bytes = (size_t)1 << 28;
enum { MOST_ITEMS = 1 << 22, MOST_SIDE = 1024 };

void report_init(report *r, const char *model, const char *title, size_t most_records)
{
    *r = (report){.allocator = alloc_resolve(NULL)};
    arena_init(&r->memory, &r->allocator, most_bytes);
    r->model = arena_text(&r->memory, model, strlen(model));
    r->title = arena_text(&r->memory, title, strlen(title));
    r->failed = r->model == NULL || r->title == NULL;
    if (most_records > 0) {
        r->failed |= timeline_create(&r->allocator, 0, UINT64_MAX, most_records, &r->timeline,
                                     NULL) != SPRY_OK;
    }
}

void report_fini(report *r)
{
    for (size_t i = 0; i < r->table_count; i++) {
        alloc_release(&r->allocator, r->tables[i].values,
                      r->tables[i].capacity * sizeof *r->tables[i].values);
    }
    for (size_t i = 0; i < r->chart_count; i++) {
        alloc_release(&r->allocator, r->charts[i].curves,
                      r->charts[i].capacity * sizeof *r->charts[i].curves);
    }
    alloc_release(&r->allocator, r->facts, r->fact_capacity * sizeof *r->facts);
    alloc_release(&r->allocator, r->tables, r->table_capacity * sizeof *r->tables);
    alloc_release(&r->allocator, r->charts, r->chart_capacity * sizeof *r->charts);
    alloc_release(&r->allocator, r->heats, r->heat_capacity * sizeof *r->heats);
    alloc_release(&r->allocator, r->energy, r->energy_capacity * sizeof *r->energy);
    timeline_destroy(r->timeline);
    arena_fini(&r->memory);
    *r = (report){0};
}

spry_status report_status(const report *r, spry_error *error)
{
    return r->failed ? spry_fail(error, SPRY_LIMIT, "report", "simulate less at a time",
                                 "there is no memory for all that is to be told")
                     : SPRY_OK;
}

/* ---- memory ---- */

/* Room for one more item of `size` bytes behind `count`, or NULL. */
static void *grow(report *r, void **items, size_t *count, size_t *capacity, size_t size)
{
    if (r->failed ||
        alloc_grow(&r->allocator, items, capacity, *count + 1, size, MOST_ITEMS, NULL) != SPRY_OK) {
        r->failed = true;
        return NULL;
    }
    return (char *)*items + (*count)++ * size;
}

static const char *keep(report *r, const char *string)
{
    const char *kept = string == NULL ? NULL : arena_text(&r->memory, string, strlen(string));

    r->failed |= string != NULL && kept == NULL;
    return kept;
}

static double *keep_numbers(report *r, const double *numbers, size_t count)
{
    double *kept = numbers == NULL ? NULL : arena_array(&r->memory, count + 1, sizeof *kept);

    r->failed |= numbers != NULL && kept == NULL;
    for (size_t i = 0; kept != NULL && i < count; i++) {
        kept[i] = numbers[i];
    }
    return kept;
}

/* ---- filling ---- */

static void add_fact(report *r, const report_fact *fact)
{
    void *items = r->facts;
    report_fact *kept = grow(r, &items, &r->fact_count, &r->fact_capacity, sizeof *kept);

    r->facts = items;
    if (kept != NULL) {
        *kept = *fact;
        kept->key = keep(r, fact->key);
        kept->title = keep(r, fact->title);
        kept->word = keep(r, fact->word);
        kept->unit = keep(r, fact->unit);
    }
}

void report_number(report *r, const char *key, const char *title, double number, int digits,
                   const char *unit)
{
    add_fact(r, &(report_fact){
                    .key = key, .title = title, .number = number, .digits = digits, .unit = unit});
}

void report_word(report *r, const char *key, const char *title, const char *word)
{
    add_fact(r, &(report_fact){.key = key, .title = title, .word = word, .unit = ""});
}

void report_show(const report_fact *fact, char shown[REPORT_SHOWN])
{
    if (fact->word != NULL) {
        (void)snprintf(shown, REPORT_SHOWN, "%s", fact->word);
    } else if (fact->digits < 0) {
        (void)snprintf(shown, REPORT_SHOWN, "%.2g", fact->number);
    } else {
        (void)snprintf(shown, REPORT_SHOWN, "%.*f", fact->digits, fact->number);
    }
}

void report_table_begin(report *r, const char *key, const char *title, const report_column *columns)
{
    void *items = r->tables;
    report_table *t = grow(r, &items, &r->table_count, &r->table_capacity, sizeof *t);

    r->tables = items;
    if (t == NULL) {
        return;
    }
    *t = (report_table){.key = keep(r, key), .title = keep(r, title)};
    while (columns[t->column_count].key != NULL && t->column_count < REPORT_COLUMNS_MOST) {
        report_column *column = &t->columns[t->column_count];

        *column = columns[t->column_count++];
        column->key = keep(r, column->key);
        column->title = keep(r, column->title);
    }
    r->failed |= t->column_count == REPORT_COLUMNS_MOST && columns[t->column_count].key != NULL;
}

static void add_cell(report *r, double number, const char *word)
{
    report_table *t = r->table_count > 0 ? &r->tables[r->table_count - 1] : NULL;
    report_value *kept;
    void *items;

    if (t == NULL || t->column_count == 0 ||
        (t->columns[t->count % (size_t)t->column_count].digits < 0) != (word != NULL)) {
        r->failed = true;
        return;
    }
    items = t->values;
    kept = grow(r, &items, &t->count, &t->capacity, sizeof *kept);
    t->values = items;
    if (kept != NULL) {
        *kept = (report_value){.number = number, .word = keep(r, word)};
    }
}

void report_cell(report *r, double number)
{
    add_cell(r, number, NULL);
}

void report_cell_word(report *r, const char *word)
{
    add_cell(r, 0.0, word != NULL ? word : "");
}

size_t report_rows(const report_table *t)
{
    return t->column_count > 0 ? t->count / (size_t)t->column_count : 0;
}

void report_table_quiet(report *r)
{
    if (r->table_count > 0) {
        r->tables[r->table_count - 1].is_quiet = true;
    }
}

void report_chart_begin(report *r, const report_chart_names *names)
{
    void *items = r->charts;
    report_chart *c = grow(r, &items, &r->chart_count, &r->chart_capacity, sizeof *c);

    r->charts = items;
    if (c != NULL) {
        *c = (report_chart){.names = {keep(r, names->key), keep(r, names->title),
                                      keep(r, names->x_name), keep(r, names->y_name), names->log_x,
                                      names->log_y}};
    }
}

void report_line(report *r, const char *name, const double *x, const double *y, int32_t count)
{
    report_chart *c = r->chart_count > 0 ? &r->charts[r->chart_count - 1] : NULL;
    report_curve *kept;
    void *items;

    if (c == NULL || count < 0) {
        r->failed = true;
        return;
    }
    items = c->curves;
    kept = grow(r, &items, &c->count, &c->capacity, sizeof *kept);
    c->curves = items;
    if (kept != NULL) {
        *kept = (report_curve){keep(r, name), keep_numbers(r, x, (size_t)count),
                               keep_numbers(r, y, (size_t)count), count};
    }
}

void report_heat(report *r, const report_heat_map *map)
{
    size_t cells = (size_t)map->width * (size_t)map->height;
    report_heat_map *kept;
    void *items = r->heats;

    if (map->width < 1 || map->height < 1 || map->width > MOST_SIDE || map->height > MOST_SIDE) {
        r->failed = true;
        return;
    }
    kept = grow(r, &items, &r->heat_count, &r->heat_capacity, sizeof *kept);
    r->heats = items;
    if (kept == NULL) {
        return;
    }
    *kept = (report_heat_map){.key = keep(r, map->key),
                              .title = keep(r, map->title),
                              .unit = keep(r, map->unit),
                              .width = map->width,
                              .height = map->height,
                              .cells = keep_numbers(r, map->cells, cells),
                              .links = keep_numbers(r, map->links, cells * REPORT_WAYS)};
    if (map->cell_names != NULL) {
        const char **names = arena_array(&r->memory, cells, sizeof *names);

        r->failed |= names == NULL;
        for (size_t i = 0; names != NULL && i < cells; i++) {
            names[i] = keep(r, map->cell_names[i]);
        }
        kept->cell_names = names;
    }
}

void report_energy(report *r, const char *part, const char *event, double count, double picojoules,
                   const char *source)
{
    void *items = r->energy;
    report_energy_row *kept = grow(r, &items, &r->energy_count, &r->energy_capacity, sizeof *kept);

    r->energy = items;
    if (kept != NULL) {
        *kept =
            (report_energy_row){keep(r, part), keep(r, event), keep(r, source), count, picojoules};
    }
}

double report_joules(const report *r)
{
    double sum = 0.0;

    for (size_t i = 0; i < r->energy_count; i++) {
        sum += r->energy[i].count * r->energy[i].picojoules;
    }
    return sum * 1e-12;
}

/* ---- for programs ---- */

static void write_table(const report_table *t, json_writer *json)
{
    json_write_array(json, t->key);
    for (size_t row = 0; row < report_rows(t); row++) {
        json_write_object(json, NULL);
        for (int c = 0; c < t->column_count; c++) {
            const report_value *v = &t->values[row * (size_t)t->column_count + (size_t)c];

            if (v->word != NULL) {
                json_write_string(json, t->columns[c].key, v->word);
            } else {
                json_write_f64(json, t->columns[c].key, v->number);
            }
        }
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_numbers(json_writer *json, const char *key, const double *numbers, size_t count)
{
    json_write_array(json, key);
    for (size_t i = 0; i < count; i++) {
        json_write_f64(json, NULL, numbers[i]);
    }
    json_write_end(json);
}

static void write_chart(const report_chart *c, json_writer *json)
{
    json_write_array(json, c->names.key);
    for (size_t i = 0; i < c->count; i++) {
        const report_curve *curve = &c->curves[i];

        json_write_object(json, NULL);
        json_write_string(json, "name", curve->name);
        write_numbers(json, "x", curve->x, (size_t)curve->count);
        write_numbers(json, "y", curve->y, (size_t)curve->count);
        json_write_end(json);
    }
    json_write_end(json);
}

static void write_heat(const report_heat_map *map, json_writer *json)
{
    size_t cells = (size_t)map->width * (size_t)map->height;

    json_write_object(json, map->key);
    json_write_i64(json, "width", map->width);
    json_write_i64(json, "height", map->height);
    json_write_string(json, "unit", map->unit);
    if (map->cells != NULL) {
        write_numbers(json, "cells", map->cells, cells);
    }
    if (map->links != NULL) {
        write_numbers(json, "links", map->links, cells * REPORT_WAYS);
    }
    json_write_end(json);
}

static void write_energy(const report *r, json_writer *json)
{
    json_write_f64(json, "joules", report_joules(r));
    json_write_array(json, "energy");
    for (size_t i = 0; i < r->energy_count; i++) {
        const report_energy_row *row = &r->energy[i];

        json_write_object(json, NULL);
        json_write_string(json, "part", row->part);
        json_write_string(json, "event", row->event);
        json_write_f64(json, "count", row->count);
        json_write_f64(json, "picojoules", row->picojoules);
        json_write_string(json, "source", row->source);
        json_write_end(json);
    }
    json_write_end(json);
}

void report_write_json(const report *r, json_writer *json)
{
    for (size_t i = 0; i < r->fact_count; i++) {
        if (r->facts[i].word != NULL) {
            json_write_string(json, r->facts[i].key, r->facts[i].word);
        } else {
            json_write_f64(json, r->facts[i].key, r->facts[i].number);
        }
    }
    if (r->energy_count > 0) {
        write_energy(r, json);
    }
    for (size_t i = 0; i < r->table_count; i++) {
        write_table(&r->tables[i], json);
    }
    for (size_t i = 0; i < r->chart_count; i++) {
        write_chart(&r->charts[i], json);
    }
    for (size_t i = 0; i < r->heat_count; i++) {
        write_heat(&r->heats[i], json);
    }
}

/* In quotes, doubled inside. */
static void append_word(text *to, const char *word)
{
    text_append_char(to, '"');
    for (const char *c = word; *c != '\0'; c++) {
        text_append_string(to, *c == '"' ? "\"" : "");
        text_append_char(to, *c);
    }
    text_append_char(to, '"');
}

bool report_write_csv(const report *r, text *to)
{
    const report_table *t = r->tables;

    if (r->table_count == 0) {
        return false;
    }
    for (int c = 0; c < t->column_count; c++) {
        text_append_format(to, "%s%s", c > 0 ? "," : "", t->columns[c].key);
    }
    for (size_t i = 0; i < report_rows(t) * (size_t)t->column_count; i++) {
        text_append_char(to, i % (size_t)t->column_count > 0 ? ',' : '\n');
        if (t->values[i].word != NULL) {
            append_word(to, t->values[i].word);
        } else {
            text_append_f64(to, t->values[i].number);
        }
    }
    text_append_char(to, '\n');
    return true;
}
