/* Lines and cells of separated values (RFC 4180, a cell on one line), taken one after another from
 * text that stays where it is. */
#ifndef DATA_CSV_H
#define DATA_CSV_H

#include <stdbool.h>
#include <stddef.h>

/* Longer cells hold neither numbers nor names of classes. */
enum { CSV_CELL_BYTES = 512 };

/* What is left of a text or a line. */
typedef struct csv_rest {
    const char *data;
    size_t size;
    bool open; /* of a line: another cell follows, perhaps an empty one */
} csv_rest;

typedef enum csv_result {
    CSV_CELL,
    CSV_END,      /* no cell is left */
    CSV_TOO_LONG, /* CSV_CELL_BYTES */
    CSV_UNQUOTED  /* a quote does not end, or text follows it */
} csv_result;

/* The text without a byte order mark. */
csv_rest csv_begin(const char *data, size_t size);

/* The separator of the first line: whichever of comma, semicolon and tab it has most of. */
char csv_separator(csv_rest text);

/* Takes the next line off `text`; false at the end. A blank line has `open` false. */
bool csv_line(csv_rest *text, csv_rest *line);

/* Takes the next cell off `line`: without blanks around it and without quotes, NUL-terminated. */
csv_result csv_cell(csv_rest *line, char separator, char cell[CSV_CELL_BYTES]);

#endif
