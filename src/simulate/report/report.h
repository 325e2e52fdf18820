/* What a simulation found, as data: numbers, tables, curves, heat maps, energy, and what happened
 * when. A model fills a report; how it is shown is not its business (cli/simulate/tell.h): as text,
 * as JSON, as rows of CSV, as a trace, or as one page that opens without a network.
 *
 *     report_number(r, "cycles", "Cycles", 1234, 0, "cycles");
 *     report_table_begin(r, "layers", "Layers", columns);      then cell by cell, row by row
 *     report_cell(r, 17);
 *     report_chart_begin(r, &(report_chart_names){...});
 *     report_line(r, "uniform", rates, latencies, count);
 *     report_heat(r, &(report_heat_map){...});
 *     report_energy(r, "array", "multiply-add", macs, 0.2, "Horowitz, ISSCC 2014, 45 nm");
 *     timeline_span(r->timeline, track, ...);                  NULL when nobody asked for it
 *
 * Keys are for programs (a-z, 0-9, _), titles for people; strings and numbers are copied. Nothing
 * here returns a status: the first failure (memory, misuse) is kept until report_status. */
#ifndef SIMULATE_REPORT_REPORT_H
#define SIMULATE_REPORT_REPORT_H

#include "base/arena.h"
#include "base/json.h"
#include "simulate/kernel/timeline.h"

enum { REPORT_COLUMNS_MOST = 16, REPORT_SHOWN = 128 };

/* How the page shows a column. */
typedef enum report_place {
    REPORT_PLAIN,
    REPORT_BAR /* over a bar of its share of the column's largest */
} report_place;

typedef struct report_column {
    const char *key;   /* NULL ends a list */
    const char *title; /* with the unit, where there is one: "memory, cycles" */
    int digits;        /* behind the point; -1: the column holds words */
    report_place place;
} report_column;

/* A number of the whole run, or a word. */
typedef struct report_fact {
    const char *key, *title;
    const char *word; /* NULL: it is a number */
    double number;
    int digits;       /* behind the point; -1: two of any size, 2.6e-07 */
    const char *unit; /* may be "" */
} report_fact;

typedef struct report_value {
    double number;
    const char *word; /* NULL in columns of numbers */
} report_value;

typedef struct report_table {
    const char *key, *title;
    report_column columns[REPORT_COLUMNS_MOST];
    int column_count;
    bool is_quiet;        /* not in text: numbers beside it say the same */
    report_value *values; /* row by row */
    size_t count, capacity;
} report_table;

typedef struct report_chart_names {
    const char *key, *title, *x_name, *y_name;
    bool log_x, log_y;
} report_chart_names;

typedef struct report_curve {
    const char *name;
    double *x, *y; /* not a number: no point */
    int32_t count;
} report_curve;

typedef struct report_chart {
    report_chart_names names;
    report_curve *curves;
    size_t count, capacity;
} report_chart;

enum { REPORT_EAST, REPORT_WEST, REPORT_NORTH, REPORT_SOUTH, REPORT_WAYS };

/* A grid of cells, with or without links between neighbours. */
typedef struct report_heat_map {
    const char *key, *title, *unit;
    int width, height;   /* cell (x, y) is y * width + x; row 0 is drawn above */
    const double *cells; /* [width * height], not below 0; NULL: none */
    const double *links; /* [width * height * REPORT_WAYS]: leaving a cell; NULL: none. Those that
                            lead off the grid are not shown */
    const char *const *cell_names; /* NULL: "x, y" */
} report_heat_map;

/* `count` events at a price. */
typedef struct report_energy_row {
    const char *part, *event, *source;
    double count, picojoules; /* of one */
} report_energy_row;

typedef struct report {
    const char *model;  /* "noc" */
    const char *title;  /* "Mesh of 8 x 8 routers" */
    timeline *timeline; /* of the report; NULL: not wanted */
    report_fact *facts;
    size_t fact_count, fact_capacity;
    report_table *tables;
    size_t table_count, table_capacity;
    report_chart *charts;
    size_t chart_count, chart_capacity;
    report_heat_map *heats;
    size_t heat_count, heat_capacity;
    report_energy_row *energy;
    size_t energy_count, energy_capacity;
    bool failed;
    arena memory;
    spry_allocator allocator;
} report;

/* `most_records` of a timeline; 0: none. To be given to report_fini in any case. */
void report_init(report *r, const char *model, const char *title, size_t most_records);
void report_fini(report *r);
/* Fails with SPRY_LIMIT when something could not be kept. */
SPRY_MUST_USE spry_status report_status(const report *r, spry_error *error);

void report_number(report *r, const char *key, const char *title, double number, int digits,
                   const char *unit);
void report_word(report *r, const char *key, const char *title, const char *word);
/* A fact as people see it, without its unit. */
void report_show(const report_fact *fact, char shown[REPORT_SHOWN]);

/* A table; report_cell and report_cell_word then fill it from left to right, row by row, as the
 * columns have numbers and words. `columns` end with a NULL key. */
void report_table_begin(report *r, const char *key, const char *title,
                        const report_column *columns);
void report_cell(report *r, double number);
void report_cell_word(report *r, const char *word);
size_t report_rows(const report_table *t);
/* Leaves the last table out of the text: numbers say the same. */
void report_table_quiet(report *r);

/* A chart; report_line adds a curve to it. */
void report_chart_begin(report *r, const report_chart_names *names);
void report_line(report *r, const char *name, const double *x, const double *y, int32_t count);

void report_heat(report *r, const report_heat_map *map);

/* `picojoules` of one event; `source` says whose figure that is. */
void report_energy(report *r, const char *part, const char *event, double count, double picojoules,
                   const char *source);
double report_joules(const report *r);

/* Members of the current object: every fact by its key; "energy"; tables, charts and heat maps by
 * theirs. The same report gives the same bytes. */
void report_write_json(const report *r, json_writer *json);
/* The first table, with its keys in a first line. False when there is none. */
bool report_write_csv(const report *r, text *to);

#endif
