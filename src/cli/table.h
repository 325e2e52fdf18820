/* Tables of text, aligned for people, or as Markdown or CSV for other programs. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "spry/status.h"

enum { TABLE_COLUMNS_MOST = 16 };

typedef enum table_style { TABLE_PLAIN, TABLE_MARKDOWN, TABLE_CSV } table_style;

typedef struct table_column {
    const char *title; /* NULL ends the list */
    bool is_number;    /* aligned to the right */
} table_column;

typedef struct table {
    const table_column *columns;
    size_t column_count;
    const char **cells; /* row by row, in `memory` */
    size_t cell_count;
    size_t cell_capacity;
    arena memory;
    bool failed;
} table;

/* `columns`, ended by a NULL title, must outlive the table. */
void table_init(table *t, const table_column *columns);
void table_fini(table *t);
/* The next cell, from left to right and row by row; control characters become '?'. Failures are
 * remembered for table_print. */
void table_cell(table *t, const char *format, ...) SPRY_PRINTF(2, 3);
/* Prints the title row and all rows. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status table_print(const table *t, table_style style, FILE *to,
                                      spry_error *error);

#endif
