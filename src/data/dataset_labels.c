/* A text file with one picture per line: file, class number, and columns that are ignored. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/parse.h"
#include "data/dataset.h"

/* More text than ImageNet's training set needs, ten times. */
#define LABELS_FILE_BYTES ((uint64_t)1 << 30)

/* A piece of the mapped text. */
typedef struct span {
    const char *data;
    size_t size;
} span;

/* Takes the next line off `rest`, without its end. */
static bool next_line(span *rest, span *line)
{
    const char *end;

    if (rest->size == 0) {
        return false;
    }
    end = memchr(rest->data, '\n', rest->size);
    *line = (span){rest->data, end != NULL ? (size_t)(end - rest->data) : rest->size};
    rest->data += line->size + (end != NULL);
    rest->size -= line->size + (end != NULL);
    if (line->size > 0 && line->data[line->size - 1] == '\r') {
        line->size--;
    }
    return true;
}

/* Takes the next column off `line`. Columns end at tabs; in lines without tabs, at blanks. */
static span next_column(span *line, bool tabs)
{
    span column = *line;

    while (!tabs && column.size > 0 && column.data[0] == ' ') {
        column.data++;
        column.size--;
    }
    *line = column;
    for (size_t i = 0; i < column.size; i++) {
        if (column.data[i] == (tabs ? '\t' : ' ')) {
            column.size = i;
            break;
        }
    }
    line->data += column.size;
    line->size -= column.size;
    if (line->size > 0) {
        line->data++;
        line->size--;
    }
    return column;
}

/* File and class of a line. False when the second column is not a number. */
static bool parse_line(span line, span *file, int32_t *label)
{
    bool tabs = memchr(line.data, '\t', line.size) != NULL;
    char digits[16];
    int64_t value;
    span number;

    *file = next_column(&line, tabs);
    number = next_column(&line, tabs);
    while (number.size > 0 && number.data[number.size - 1] == ' ') {
        number.size--;
    }
    if (number.size == 0 || number.size >= sizeof digits) {
        return false;
    }
    memcpy(digits, number.data, number.size);
    digits[number.size] = '\0';
    if (!parse_i64(digits, 0, DATASET_MAX_CLASS, &value)) {
        return false;
    }
    *label = (int32_t)value;
    return true;
}

static bool is_empty(span line)
{
    return line.size == 0 || line.data[0] == '#';
}

/* Path of a file named in a line: beside the text, or in images/. */
static const char *locate(spry_dataset *d, const char *folder, span file)
{
    char *name = arena_text(&d->memory, file.data, file.size);
    char *path = name != NULL && name[0] != '/' ? dataset_join(d, folder, name) : name;

    if (path != NULL && name[0] != '/' && !file_exists(path)) {
        char *images = dataset_join(d, folder, "images");
        char *other = images != NULL ? dataset_join(d, images, name) : NULL;

        path = other != NULL && file_exists(other) ? other : path;
    }
    return path;
}

static spry_status add_line(spry_dataset *d, const char *folder, span line, size_t number,
                            const char **files, spry_error *error)
{
    span file;
    int32_t label = 0;

    if (!parse_line(line, &file, &label)) {
        return number == 1 ? SPRY_OK /* a heading */
                           : spry_fail(error, SPRY_BAD_INPUT, d->path,
                                       "write file and class number, with a tab between",
                                       "line %zu has no class number in its second column", number);
    }
    if (file.size == 0) {
        return spry_fail(error, SPRY_BAD_INPUT, d->path, NULL, "line %zu names no file", number);
    }
    files[d->count] = locate(d, folder, file);
    if (files[d->count] == NULL) {
        return alloc_failed(error, file.size);
    }
    d->labels[d->count++] = label;
    return SPRY_OK;
}

static spry_status read_lines(spry_dataset *d, span all, spry_error *error)
{
    const char *slash = strrchr(d->path, '/');
    size_t folder_length = slash != NULL ? (size_t)(slash - d->path) : 1;
    char *folder = arena_text(&d->memory, slash != NULL ? d->path : ".", folder_length);
    const char **files;
    size_t lines = 0;
    size_t number = 0;
    span rest = all;
    span line;

    while (next_line(&rest, &line)) {
        lines++;
    }
    files = dataset_array(d, lines, sizeof *files);
    d->labels = dataset_array(d, lines, sizeof *d->labels);
    if (folder == NULL || files == NULL || d->labels == NULL) {
        return alloc_failed(error, lines * sizeof *files);
    }
    while (next_line(&all, &line)) {
        spry_status status =
            is_empty(line) ? SPRY_OK : add_line(d, folder, line, number + 1, files, error);

        number++;
        if (status != SPRY_OK) {
            return status;
        }
    }
    d->files = files;
    d->pictures = true;
    return SPRY_OK;
}

static spry_status open_set(spry_dataset *d, spry_error *error)
{
    file_map map;
    spry_status status = file_map_open(d->path, LABELS_FILE_BYTES, &map, error);

    if (status == SPRY_OK) {
        status = read_lines(d, (span){(const char *)map.data, map.size}, error);
        file_map_close(&map);
    }
    return status;
}

const dataset_kind dataset_labels = {"labels", open_set, dataset_read_file, NULL};
