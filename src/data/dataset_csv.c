/* Numbers in columns of a text file, one of which holds the class.
 *
 *     width,height,kind        a line of names is optional
 *     5.1,3.5,setosa           the class is a number from 0, or a word
 *
 * Everything is checked when the set is opened; a row is read again when its sample is asked
 * for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/parse.h"
#include "data/csv.h"
#include "data/dataset.h"

enum { MAX_COLUMNS = 1 << 20, MAX_NAMED_CLASSES = 65536 };

typedef struct csv_state {
    file_map map;
    csv_rest text;  /* the rows */
    int64_t before; /* lines before them */
    char separator;
    int64_t columns;
    int64_t label;      /* the column of the class */
    csv_rest header;    /* the line of names; size 0: there is none */
    const char **rows;  /* [count]: where each begins */
    bool named;         /* classes are words */
    const char **names; /* [name_count], sorted */
    size_t name_count;
    size_t name_room;
} csv_state;

/* A place for errors: lines count from 1. */
typedef struct csv_place {
    spry_dataset *d;
    const csv_state *s;
    int64_t line;
    spry_error *error;
} csv_place;

static bool number_of(const char *cell, double *value)
{
    return parse_f64(cell, -HUGE_VAL, HUGE_VAL, value);
}

/* Name of a column into `name`, "" where there is none. */
static void column_name(const csv_state *s, int64_t column, char name[CSV_CELL_BYTES])
{
    csv_rest line = s->header;

    line.open = line.size > 0;
    name[0] = '\0';
    for (int64_t i = 0; i <= column; i++) {
        if (csv_cell(&line, s->separator, name) != CSV_CELL) {
            name[0] = '\0';
            return;
        }
    }
}

static spry_status refuse_cell(const csv_place *p, int64_t column, const char *cell,
                               const char *remedy, const char *problem)
{
    char name[CSV_CELL_BYTES];

    column_name(p->s, column, name);
    return spry_fail(p->error, SPRY_BAD_INPUT, p->d->path, remedy,
                     "line %lld: column %lld%s%.60s%s %s%s%.60s%s", (long long)p->line,
                     (long long)column + 1, name[0] != '\0' ? " ('" : "", name,
                     name[0] != '\0' ? "')" : "", problem, cell[0] != '\0' ? ": '" : "", cell,
                     cell[0] != '\0' ? "'" : "");
}

static spry_status refuse_row(const csv_place *p, csv_result result)
{
    return spry_fail(p->error, SPRY_BAD_INPUT, p->d->path,
                     result == CSV_TOO_LONG ? "remove columns of text" : "put quotes in pairs",
                     "line %lld has a cell that %s", (long long)p->line,
                     result == CSV_TOO_LONG ? "is longer than a number or a name can be"
                                            : "begins with a quote and does not end with one");
}

/* --- classes --------------------------------------------------------------------------------- */

/* Where `name` is or belongs in the sorted names. */
static size_t name_place(const csv_state *s, const char *name)
{
    size_t low = 0;
    size_t high = s->name_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(s->names[middle], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static spry_status add_name(spry_dataset *d, csv_state *s, const char *name, spry_error *error)
{
    size_t place = name_place(s, name);
    void *names = s->names;
    const char *copy;
    spry_status status;

    if (place < s->name_count && strcmp(s->names[place], name) == 0) {
        return SPRY_OK;
    }
    status = alloc_grow(&d->allocator, &names, &s->name_room, s->name_count + 1, sizeof *s->names,
                        MAX_NAMED_CLASSES, error);
    s->names = names;
    copy = status == SPRY_OK ? arena_text(&d->memory, name, strlen(name)) : NULL;
    if (copy == NULL) {
        return status != SPRY_OK ? status : alloc_failed(error, strlen(name));
    }
    memmove(s->names + place + 1, s->names + place, (s->name_count - place) * sizeof *s->names);
    s->names[place] = copy;
    s->name_count++;
    return SPRY_OK;
}

/* The class as a number; also "3.0", as programs that know only one kind of number write it. */
static spry_status class_number(const csv_place *p, const char *cell, int32_t *label)
{
    double value;

    if (!number_of(cell, &value)) {
        return refuse_cell(p, p->s->label, cell,
                           "name all classes by numbers, or all by words; @COLUMN behind the path "
                           "chooses another column",
                           "should be the number of a class, as in the first row");
    }
    if (value < 0 || value > DATASET_MAX_CLASS || value != floor(value)) {
        return refuse_cell(p, p->s->label, cell,
                           "number the classes from 0; @COLUMN behind the path chooses another "
                           "column",
                           "is not the number of a class");
    }
    *label = (int32_t)value;
    return SPRY_OK;
}

/* --- rows ------------------------------------------------------------------------------------ */

/* Reads a row: numbers to `values` (may be NULL: only checked), the class's cell to `label`. */
static spry_status read_row(const csv_place *p, csv_rest line, float *values,
                            char label[CSV_CELL_BYTES])
{
    const csv_state *s = p->s;
    char cell[CSV_CELL_BYTES];
    int64_t column = 0;
    csv_result result;

    for (result = csv_cell(&line, s->separator, cell); result == CSV_CELL && column < s->columns;
         result = csv_cell(&line, s->separator, cell), column++) {
        double value = 0;

        if (column == s->label) {
            memcpy(label, cell, sizeof cell);
            continue;
        }
        if (!number_of(cell, &value)) {
            return refuse_cell(p, column, cell,
                               "fill in a number, or remove the line or the column",
                               cell[0] == '\0' ? "is empty" : "is not a number");
        }
        if (values != NULL) {
            *values++ = (float)value;
        }
    }
    if (result == CSV_END && column == s->columns) {
        return label[0] != '\0'
                   ? SPRY_OK
                   : refuse_cell(p, s->label, "", "fill in the class or remove the line",
                                 "should have the class but is empty");
    }
    if (result == CSV_TOO_LONG || result == CSV_UNQUOTED) {
        return refuse_row(p, result);
    }
    return spry_fail(p->error, SPRY_BAD_INPUT, p->d->path, "give every line the same columns",
                     "line %lld has %s columns than the first line, which has %lld",
                     (long long)p->line, column < s->columns ? "fewer" : "more",
                     (long long)s->columns);
}

/* Runs through all rows. First pass (labels NULL): checks them, counts them, collects names. Second
 * pass: fills rows and labels. */
static spry_status pass(spry_dataset *d, csv_state *s, int32_t *labels, spry_error *error)
{
    csv_place p = {d, s, s->before, error};
    csv_rest text = s->text;
    csv_rest line;
    int64_t count = 0;

    while (csv_line(&text, &line)) {
        char cell[CSV_CELL_BYTES] = "";
        double number;
        int32_t label = 0;
        spry_status status;

        p.line++;
        if (!line.open) {
            continue;
        }
        status = read_row(&p, line, NULL, cell);
        if (status == SPRY_OK && count == 0) {
            s->named = !number_of(cell, &number);
        }
        if (status == SPRY_OK && !s->named) {
            status = class_number(&p, cell, &label);
        } else if (status == SPRY_OK && labels == NULL) {
            status = add_name(d, s, cell, error);
        } else if (status == SPRY_OK) {
            label = (int32_t)name_place(s, cell);
        }
        if (status != SPRY_OK) {
            return status;
        }
        if (labels != NULL) {
            s->rows[count] = line.data;
            labels[count] = label;
        }
        count++;
    }
    d->count = count;
    return SPRY_OK;
}

/* --- opening --------------------------------------------------------------------------------- */

/* The file and, behind an '@' that is not part of its name, the column of the class. */
static const char *split_path(const spry_dataset *d, char *path, size_t size)
{
    const char *at = file_exists(d->path) ? NULL : strrchr(d->path, '@');
    size_t length = at != NULL ? (size_t)(at - d->path) : strlen(d->path);

    length = length < size ? length : size - 1;
    memcpy(path, d->path, length);
    path[length] = '\0';
    return at != NULL ? at + 1 : NULL;
}

/* The first line. `label` is the column of the class by number (-1: the last), `wanted` by name. */
typedef struct first_line {
    int64_t label;
    int64_t found;   /* the column called `wanted`, or -1 */
    int64_t numbers; /* columns but the class's that hold one */
} first_line;

static spry_status survey_first(const csv_place *p, csv_rest line, const char *wanted, csv_state *s,
                                first_line *f)
{
    char cell[CSV_CELL_BYTES];
    csv_result result;
    bool is_number = false;
    double value;

    for (result = csv_cell(&line, s->separator, cell);
         result == CSV_CELL && s->columns < MAX_COLUMNS;
         result = csv_cell(&line, s->separator, cell)) {
        if (wanted != NULL && f->found < 0 && strcmp(cell, wanted) == 0) {
            f->found = s->columns;
        }
        is_number = number_of(cell, &value);
        f->numbers += is_number && s->columns != f->label;
        s->columns++;
    }
    if (f->label < 0) {
        f->label = s->columns - 1;
        f->numbers -= is_number;
    }
    if (result == CSV_TOO_LONG || result == CSV_UNQUOTED) {
        return refuse_row(p, result);
    }
    if (s->columns < 2 || result != CSV_END) {
        return spry_fail(p->error, SPRY_BAD_INPUT, p->d->path,
                         "separate columns by commas, semicolons or tabs",
                         "the first line has %lld columns; 2 to %d are needed, one for the class",
                         (long long)s->columns, MAX_COLUMNS);
    }
    return SPRY_OK;
}

/* Decides on the column of the class, and whether the first line has names: when no column but the
 * class's holds a number. */
static spry_status choose_columns(csv_place *p, csv_state *s, const char *wanted)
{
    first_line f = {-1, -1, 0};
    csv_rest text = s->text;
    csv_rest first = {"", 0, false};
    bool numbered = parse_i64(wanted, 1, MAX_COLUMNS, &f.label);
    spry_status status;

    f.label -= numbered;
    for (; !first.open; p->line++) {
        if (!csv_line(&text, &first)) {
            return spry_fail(p->error, SPRY_BAD_INPUT, p->d->path, "check the path",
                             "the file has no lines");
        }
    }
    status = survey_first(p, first, numbered ? NULL : wanted, s, &f);
    if (status != SPRY_OK) {
        return status;
    }
    if (wanted != NULL && f.found < 0 && (!numbered || f.label >= s->columns)) {
        return spry_fail(p->error, SPRY_USAGE, p->d->path,
                         "write PATH@NAME with a name from the first line, or PATH@NUMBER",
                         "there is no column '%.100s'", wanted);
    }
    s->label = f.found >= 0 ? f.found : f.label;
    if (f.found >= 0 || f.numbers == 0) {
        s->header = first;
        s->text = text;
        s->before = p->line;
    }
    return SPRY_OK;
}

static spry_status read_all(spry_dataset *d, csv_state *s, spry_error *error)
{
    spry_status status = pass(d, s, NULL, error);

    if (status != SPRY_OK) {
        return status;
    }
    s->rows = dataset_array(d, (size_t)d->count, sizeof *s->rows);
    d->labels = dataset_array(d, (size_t)d->count, sizeof *d->labels);
    if (s->rows == NULL || d->labels == NULL) {
        return alloc_failed(error, (size_t)d->count * sizeof *s->rows);
    }
    if (s->named) {
        d->class_names = s->names;
        d->class_count = (int64_t)s->name_count;
    }
    return pass(d, s, d->labels, error);
}

static spry_status open_set(spry_dataset *d, spry_error *error)
{
    csv_state *s = dataset_array(d, 1, sizeof *s);
    size_t size = strlen(d->path) + 1;
    char *path = dataset_array(d, size, 1);
    const char *wanted;
    spry_status status;

    if (s == NULL || path == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    wanted = split_path(d, path, size);
    d->path = path;
    status = file_map_open(path, LIMIT_MODEL_BYTES, &s->map, error);
    if (status != SPRY_OK) {
        return status;
    }
    d->state = s;
    s->text = csv_begin((const char *)s->map.data, s->map.size);
    s->separator = csv_separator(s->text);
    status = choose_columns(&(csv_place){d, s, 0, error}, s, wanted);
    return status == SPRY_OK ? read_all(d, s, error) : status;
}

static spry_status read_sample(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                               tensor *sample, spry_error *error)
{
    const csv_state *s = d->state;
    const char *end = (const char *)s->map.data + s->map.size;
    csv_rest text = {s->rows[index], (size_t)(end - s->rows[index]), true};
    const int64_t shape[] = {s->columns - 1};
    char label[CSV_CELL_BYTES] = "";
    csv_rest line;
    spry_status status = tensor_init_owned(sample, allocator, SPRY_DTYPE_F32, 1, shape, error);

    if (status != SPRY_OK) {
        return status;
    }
    (void)csv_line(&text, &line);
    status = read_row(&(csv_place){d, s, index + 1, error}, line, sample->data, label);
    if (status != SPRY_OK) {
        tensor_fini(sample);
    }
    return status;
}

static void close_set(spry_dataset *d)
{
    csv_state *s = d->state;

    if (s != NULL) {
        file_map_close(&s->map);
        alloc_release(&d->allocator, s->names, s->name_room * sizeof *s->names);
    }
}

const dataset_kind dataset_csv = {"csv", open_set, read_sample, close_set};
