/* Cells are kept until all widths are known. */
#include "cli/table.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"

enum { CELL_SIZE = 512, CELLS_MOST = 8 << 20, GAP = 2 };

void table_init(table *t, const table_column *columns)
{
    *t = (table){.columns = columns};
    while (t->column_count < TABLE_COLUMNS_MOST && columns[t->column_count].title != NULL) {
        t->column_count++;
    }
    arena_init(&t->memory, NULL, (size_t)1 << 30);
}

void table_fini(table *t)
{
    alloc_release(&t->memory.allocator, t->cells, t->cell_capacity * sizeof *t->cells);
    arena_fini(&t->memory);
}

void table_cell(table *t, const char *format, ...)
{
    char buffer[CELL_SIZE];
    va_list arguments;
    void *cells = t->cells;
    char *copy;

    va_start(arguments, format);
    (void)vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    for (char *c = buffer; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
    copy = arena_text(&t->memory, buffer, strlen(buffer));
    if (copy == NULL ||
        alloc_grow(&t->memory.allocator, &cells, &t->cell_capacity, t->cell_count + 1,
                   sizeof *t->cells, CELLS_MOST, NULL) != SPRY_OK) {
        t->failed = true;
        return;
    }
    t->cells = cells;
    t->cells[t->cell_count++] = copy;
}

/* Columns on the screen; continuation bytes of UTF-8 take none. */
static int width_of(const char *cell)
{
    int width = 0;

    for (; *cell != '\0'; cell++) {
        width += ((unsigned char)*cell & 0xc0) != 0x80;
    }
    return width;
}

static const char *cell_at(const table *t, size_t row, size_t column)
{
    return row == 0 ? t->columns[column].title : t->cells[(row - 1) * t->column_count + column];
}

static void print_padded(const char *cell, int width, bool right, bool is_last, FILE *to)
{
    int blanks = width - width_of(cell);

    if (right) {
        (void)fprintf(to, "%*s%s", blanks, "", cell);
    } else {
        (void)fprintf(to, "%s%*s", cell, is_last ? 0 : blanks, "");
    }
}

/* Markdown escapes what would end the cell; CSV quotes it (RFC 4180). */
static void print_quoted(const char *cell, char special, const char *escape, FILE *to)
{
    for (; *cell != '\0'; cell++) {
        if (*cell == special) {
            (void)fputs(escape, to);
        }
        (void)fputc(*cell, to);
    }
}

static void print_csv_row(const table *t, size_t row, FILE *to)
{
    for (size_t c = 0; c < t->column_count; c++) {
        const char *cell = cell_at(t, row, c);
        const char *quote = strpbrk(cell, ",\"\n") != NULL ? "\"" : "";

        (void)fprintf(to, "%s%s", c > 0 ? "," : "", quote);
        print_quoted(cell, '"', "\"", to);
        (void)fputs(quote, to);
    }
    (void)fputc('\n', to);
}

static void print_markdown_row(const table *t, size_t row, FILE *to)
{
    (void)fputc('|', to);
    for (size_t c = 0; c < t->column_count; c++) {
        (void)fputc(' ', to);
        print_quoted(cell_at(t, row, c), '|', "\\", to);
        (void)fputs(" |", to);
    }
    (void)fputc('\n', to);
    for (size_t c = 0; row == 0 && c < t->column_count; c++) {
        (void)fprintf(to, "%s%s%s", c == 0 ? "|" : "", t->columns[c].is_number ? "---:" : ":---",
                      c + 1 == t->column_count ? "|\n" : "|");
    }
}

static void print_plain_row(const table *t, size_t row, const int *widths, FILE *to)
{
    for (size_t c = 0; c < t->column_count; c++) {
        (void)fprintf(to, "%*s", c > 0 ? GAP : 0, "");
        print_padded(cell_at(t, row, c), widths[c], t->columns[c].is_number,
                     c + 1 == t->column_count, to);
    }
    (void)fputc('\n', to);
}

static void find_widths(const table *t, size_t rows, int *widths)
{
    for (size_t row = 0; row <= rows; row++) {
        for (size_t c = 0; c < t->column_count; c++) {
            int width = width_of(cell_at(t, row, c));

            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
}

spry_status table_print(const table *t, table_style style, FILE *to, spry_error *error)
{
    size_t rows = t->cell_count / t->column_count;
    int widths[TABLE_COLUMNS_MOST] = {0};

    if (t->failed) {
        return spry_fail(error, SPRY_LIMIT, "table", NULL, "memory ran out");
    }
    find_widths(t, rows, widths);
    for (size_t row = 0; row <= rows; row++) {
        switch (style) {
        case TABLE_PLAIN: print_plain_row(t, row, widths, to); break;
        case TABLE_MARKDOWN: print_markdown_row(t, row, to); break;
        case TABLE_CSV: print_csv_row(t, row, to); break;
        }
    }
    return SPRY_OK;
}
