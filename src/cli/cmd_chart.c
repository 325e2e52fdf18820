/* spry chart: columns of a table as a picture. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/files.h"
#include "base/parse.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "data/csv.h"
#include "spry/chart.h"

enum { MOST_SERIES = 64, MOST_ROWS = 1 << 20, MOST_FILE = 64 << 20 };

static const char *const logs[] = {"x", "y", "xy", NULL};

static const cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_PATH,
     .value = "FILE.svg",
     .help = "where the picture goes"},
    {.name = "x",
     .kind = CLI_TEXT,
     .value = "COLUMN",
     .help = "what lies across; the first column"},
    {.name = "y",
     .kind = CLI_TEXT,
     .value = "COLUMN",
     .help = "what lies up; the second column. Several make several series",
     .repeats = true},
    {.name = "by",
     .kind = CLI_TEXT,
     .value = "COLUMN",
     .help = "rows with the same text here are a series of their own"},
    {.name = "label", .kind = CLI_TEXT, .value = "COLUMN", .help = "text beside each point"},
    {.name = "lines", .kind = CLI_FLAG, .help = "join the points of a series, in their order"},
    {.name = "log",
     .kind = CLI_CHOICE,
     .value = "AXES",
     .choices = logs,
     .help = "axes that are logarithmic"},
    {.name = "diagonal",
     .kind = CLI_FLAG,
     .help = "the same ends on both axes, and the line on which they are equal"},
    {.name = "title", .kind = CLI_TEXT, .value = "TEXT", .help = "above the picture"},
    {.name = "x-name", .kind = CLI_TEXT, .value = "TEXT", .help = "instead of the column's name"},
    {.name = "y-name", .kind = CLI_TEXT, .value = "TEXT", .help = "instead of the column's name"},
    {.name = "width",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "640",
     .lowest = 160,
     .highest = 4096,
     .help = "pixels across"},
    {.name = "height",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "400",
     .lowest = 160,
     .highest = 4096,
     .help = "pixels up"},
    {.name = "force", .kind = CLI_FLAG, .help = "replace an existing FILE"},
    {0},
};

/* Where rows are taken apart. */
typedef struct sheet {
    const cli_call *call;
    const char *path;
    arena memory;
    file_map map;
    csv_rest header, rows;
    char separator;
    int64_t x, by, label; /* columns; -1: none */
    int64_t y[MOST_SERIES];
    int32_t y_count;
    int64_t row_count; /* at most: blank lines are counted */
    spry_chart_series series[MOST_SERIES];
    int32_t series_count;
} sheet;

/* ---- columns ---- */

static spry_status find_column(const sheet *s, const char *name, int64_t *found, spry_error *error)
{
    csv_rest line = s->header;
    char cell[CSV_CELL_BYTES];

    for (*found = 0; csv_cell(&line, s->separator, cell) == CSV_CELL; (*found)++) {
        if (strcmp(cell, name) == 0) {
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, s->path, "the first line names the columns",
                     "there is no column '%.80s'", name);
}

static spry_status find_option(const sheet *s, const char *option, int64_t fallback, int64_t *found,
                               spry_error *error)
{
    const char *name = cli_text(s->call, option);

    *found = fallback;
    return name != NULL ? find_column(s, name, found, error) : SPRY_OK;
}

static spry_status find_columns(sheet *s, spry_error *error)
{
    const char *name;
    spry_status status = find_option(s, "x", 0, &s->x, error);

    if (status == SPRY_OK) {
        status = find_option(s, "by", -1, &s->by, error);
    }
    if (status == SPRY_OK) {
        status = find_option(s, "label", -1, &s->label, error);
    }
    s->y[0] = 1;
    while (status == SPRY_OK && (name = cli_value(s->call, "y", s->y_count)) != NULL) {
        if (s->y_count == MOST_SERIES) {
            return spry_fail(error, SPRY_USAGE, "--y", NULL, "given more than %d times",
                             (int)MOST_SERIES);
        }
        status = find_column(s, name, &s->y[s->y_count++], error);
    }
    if (status == SPRY_OK && s->y_count > 1 && s->by >= 0) {
        return spry_fail(error, SPRY_USAGE, "--by", "leave one of them out",
                         "several --y are series already");
    }
    s->y_count = s->y_count > 0 ? s->y_count : 1;
    return status;
}

/* ---- rows ---- */

/* A copy of cell `column` of the row; "" where the row ends before. NULL: no memory. */
static spry_status read_cell(sheet *s, csv_rest line, int64_t column, const char **cell,
                             spry_error *error)
{
    char found[CSV_CELL_BYTES] = "";
    csv_result result = CSV_CELL;

    for (int64_t i = 0; i <= column && result == CSV_CELL; i++) {
        result = csv_cell(&line, s->separator, found);
    }
    if (result == CSV_TOO_LONG || result == CSV_UNQUOTED) {
        return spry_fail(error, SPRY_BAD_INPUT, s->path, NULL, "a cell %s",
                         result == CSV_TOO_LONG ? "is too long" : "has a quote that does not end");
    }
    *cell = arena_text(&s->memory, result == CSV_CELL ? found : "",
                       result == CSV_CELL ? strlen(found) : 0);
    return *cell != NULL ? SPRY_OK : spry_fail(error, SPRY_LIMIT, s->path, NULL, "no memory");
}

/* An empty cell is a point that is missing. */
static spry_status read_number(sheet *s, csv_rest line, int64_t column, double *number,
                               spry_error *error)
{
    const char *cell = NULL;
    spry_status status = read_cell(s, line, column, &cell, error);

    *number = NAN;
    if (status == SPRY_OK && cell[0] != '\0' && !parse_f64(cell, -HUGE_VAL, HUGE_VAL, number)) {
        return spry_fail(error, SPRY_BAD_INPUT, s->path, "--x and --y name columns of numbers",
                         "'%.80s' is no number", cell);
    }
    return status;
}

/* The series of that name, a new one where there is none. */
static spry_status take_series(sheet *s, const char *name, spry_chart_series **series,
                               spry_error *error)
{
    spry_chart_series *to;

    for (int32_t i = 0; i < s->series_count; i++) {
        if (strcmp(s->series[i].name, name) == 0) {
            *series = &s->series[i];
            return SPRY_OK;
        }
    }
    if (s->series_count == MOST_SERIES) {
        return spry_fail(error, SPRY_USAGE, "--by", "choose another column",
                         "more than %d different texts", (int)MOST_SERIES);
    }
    to = &s->series[s->series_count++];
    to->name = name;
    to->is_line = cli_given(s->call, "lines");
    to->x = arena_array(&s->memory, (size_t)s->row_count + 1, sizeof *to->x);
    to->y = arena_array(&s->memory, (size_t)s->row_count + 1, sizeof *to->y);
    to->labels = s->label >= 0
                     ? arena_array(&s->memory, (size_t)s->row_count + 1, sizeof *to->labels)
                     : NULL;
    *series = to;
    return to->x != NULL && to->y != NULL && (s->label < 0 || to->labels != NULL)
               ? SPRY_OK
               : spry_fail(error, SPRY_LIMIT, s->path, NULL, "no memory");
}

static spry_status add_point(sheet *s, csv_rest line, int32_t k, const char *name,
                             spry_error *error)
{
    spry_chart_series *to = NULL;
    double x;
    double y;
    spry_status status = take_series(s, name, &to, error);

    if (status == SPRY_OK) {
        status = read_number(s, line, s->x, &x, error);
    }
    if (status == SPRY_OK) {
        status = read_number(s, line, s->y[k], &y, error);
    }
    if (status == SPRY_OK && s->label >= 0) {
        status = read_cell(s, line, s->label, (const char **)&to->labels[to->count], error);
    }
    if (status == SPRY_OK) {
        ((double *)to->x)[to->count] = x; /* the series' own */
        ((double *)to->y)[to->count++] = y;
    }
    return status;
}

static spry_status add_row(sheet *s, csv_rest line, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t k = 0; k < s->y_count && status == SPRY_OK; k++) {
        const char *name = "";

        if (s->by >= 0) {
            status = read_cell(s, line, s->by, &name, error);
        } else if (s->y_count > 1) {
            name = cli_value(s->call, "y", k);
        }
        if (status == SPRY_OK) {
            status = add_point(s, line, k, name, error);
        }
    }
    return status;
}

static spry_status read_rows(sheet *s, spry_error *error)
{
    csv_rest rest;
    csv_rest line;
    spry_status status = file_map_open(s->path, MOST_FILE, &s->map, error);

    if (status != SPRY_OK) {
        return status;
    }
    rest = csv_begin((const char *)s->map.data, s->map.size);
    s->separator = csv_separator(rest);
    if (!csv_line(&rest, &s->header)) {
        return spry_fail(error, SPRY_BAD_INPUT, s->path, NULL, "the file is empty");
    }
    status = find_columns(s, error);
    s->rows = rest;
    while (csv_line(&rest, &line)) {
        s->row_count++;
    }
    if (status == SPRY_OK && s->row_count > MOST_ROWS) {
        return spry_fail(error, SPRY_LIMIT, s->path, NULL, "more than %d rows", (int)MOST_ROWS);
    }
    while (status == SPRY_OK && csv_line(&s->rows, &line)) {
        status = line.open ? add_row(s, line, error) : SPRY_OK;
    }
    return status;
}

/* ---- the picture ---- */

static spry_status axis_name(sheet *s, const char *option, int64_t column, const char **name,
                             spry_error *error)
{
    *name = cli_text(s->call, option);
    return *name == NULL ? read_cell(s, s->header, column, name, error) : SPRY_OK;
}

static spry_status draw(sheet *s, const char *output, spry_error *error)
{
    const char *log = cli_text(s->call, "log");
    spry_chart chart = {.struct_size = sizeof chart,
                        .title = cli_text(s->call, "title"),
                        .series = s->series,
                        .count = s->series_count,
                        .log_x = log != NULL && strchr(log, 'x') != NULL,
                        .log_y = log != NULL && strchr(log, 'y') != NULL,
                        .diagonal = cli_given(s->call, "diagonal"),
                        .width = (int32_t)cli_integer(s->call, "width"),
                        .height = (int32_t)cli_integer(s->call, "height")};
    spry_status status = axis_name(s, "x-name", s->x, &chart.x_name, error);

    if (status == SPRY_OK && (s->y_count == 1 || cli_given(s->call, "y-name"))) {
        status = axis_name(s, "y-name", s->y[0], &chart.y_name, error);
    }
    return status == SPRY_OK ? spry_chart_save(&chart, output, error) : status;
}

static spry_status tell(const sheet *s, const char *output, spry_error *error)
{
    int64_t points = 0;
    output_document document;

    for (int32_t i = 0; i < s->series_count; i++) {
        points += s->series[i].count;
    }
    if (!cli_given(s->call, "json")) {
        output_note(s->call, "wrote %s, %lld points", output, (long long)points);
        return SPRY_OK;
    }
    output_begin(&document, s->call);
    json_write_string(&document.json, "output", output);
    json_write_i64(&document.json, "series", s->series_count);
    json_write_i64(&document.json, "points", points);
    return output_end(&document, s->call, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    sheet s = {.call = call, .path = call->arguments[0]};
    const char *output = cli_text(call, "output");
    spry_status status;

    if (output == NULL) {
        return spry_fail(error, SPRY_USAGE, "--output", "for example -o chart.svg",
                         "no place for the picture given");
    }
    status = output_check_free(call, output, error);
    arena_init(&s.memory, NULL, SIZE_MAX);
    if (status == SPRY_OK) {
        status = read_rows(&s, error);
    }
    if (status == SPRY_OK) {
        status = draw(&s, output, error);
    }
    if (status == SPRY_OK) {
        status = tell(&s, output, error);
    }
    if (s.map.data != NULL) {
        file_map_close(&s.map);
    }
    arena_fini(&s.memory);
    return status;
}

const cli_command cmd_chart = {
    .name = "chart",
    .summary = "draw columns of a table",
    .arguments = "TABLE.csv",
    .least_arguments = 1,
    .most_arguments = 1,
    .examples = {"spry chart docs/methods/lasnet-digits.csv -o digits.svg --x ms --y top-1 "
                 "--label network",
                 "spry chart docs/methods/lasnet-layers.csv -o layers.svg --x measured --y "
                 "predicted --by side --log xy --diagonal"},
    .description =
        "Draws points as an SVG picture, which fetches nothing and follows the reader's light or "
        "dark theme. The table's first line names its columns; they are separated by commas, "
        "semicolons or tabs. A row whose cell is empty is a point that is missing.",
    .options = options,
    .run = run,
};
