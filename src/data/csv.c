/* Separated values. */
#include "data/csv.h"

#include <string.h>

csv_rest csv_begin(const char *data, size_t size)
{
    size_t mark = size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    return (csv_rest){data + mark, size - mark, true};
}

bool csv_line(csv_rest *text, csv_rest *line)
{
    const char *end;

    if (text->size == 0) {
        return false;
    }
    end = memchr(text->data, '\n', text->size);
    *line = (csv_rest){text->data, end != NULL ? (size_t)(end - text->data) : text->size, false};
    text->data += line->size + (end != NULL);
    text->size -= line->size + (end != NULL);
    while (line->size > 0 && strchr("\r ", line->data[line->size - 1]) != NULL &&
           line->data[line->size - 1] != '\0') {
        line->size--;
    }
    line->open = line->size > 0;
    return true;
}

char csv_separator(csv_rest text)
{
    static const char choices[] = {',', ';', '\t'};
    csv_rest line = {"", 0, false};
    char best = ',';
    size_t most = 0;

    (void)csv_line(&text, &line);
    for (size_t i = 0; i < sizeof choices; i++) {
        size_t found = 0;

        for (size_t k = 0; k < line.size; k++) {
            found += line.data[k] == choices[i];
        }
        if (found > most) {
            most = found;
            best = choices[i];
        }
    }
    return best;
}

static void skip_blanks(csv_rest *line)
{
    while (line->size > 0 && line->data[0] == ' ') {
        line->data++;
        line->size--;
    }
}

/* The inside of quotes, where two quotes stand for one. */
static csv_result take_quoted(csv_rest *line, char cell[CSV_CELL_BYTES], size_t *length)
{
    size_t at = 1;

    while (at < line->size) {
        if (line->data[at] == '"' && (at + 1 == line->size || line->data[at + 1] != '"')) {
            line->data += at + 1;
            line->size -= at + 1;
            skip_blanks(line);
            return CSV_CELL;
        }
        at += line->data[at] == '"';
        if (*length + 1 >= CSV_CELL_BYTES) {
            return CSV_TOO_LONG;
        }
        cell[(*length)++] = line->data[at++];
    }
    return CSV_UNQUOTED;
}

static csv_result take_plain(csv_rest *line, char separator, char cell[CSV_CELL_BYTES],
                             size_t *length)
{
    const char *end = memchr(line->data, separator, line->size);
    size_t size = end != NULL ? (size_t)(end - line->data) : line->size;
    size_t kept = size;

    while (kept > 0 && line->data[kept - 1] == ' ') {
        kept--;
    }
    if (kept >= CSV_CELL_BYTES) {
        return CSV_TOO_LONG;
    }
    memcpy(cell, line->data, kept);
    *length = kept;
    line->data += size;
    line->size -= size;
    return CSV_CELL;
}

csv_result csv_cell(csv_rest *line, char separator, char cell[CSV_CELL_BYTES])
{
    size_t length = 0;
    csv_result result;

    if (!line->open) {
        return CSV_END;
    }
    skip_blanks(line);
    result = line->size > 0 && line->data[0] == '"' ? take_quoted(line, cell, &length)
                                                    : take_plain(line, separator, cell, &length);
    if (result != CSV_CELL) {
        return result;
    }
    cell[length] = '\0';
    line->open = line->size > 0;
    if (line->open && line->data[0] != separator) {
        return CSV_UNQUOTED;
    }
    line->data += line->open;
    line->size -= line->open;
    return CSV_CELL;
}
