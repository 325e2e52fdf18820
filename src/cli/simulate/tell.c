#include "cli/simulate/tell.h"

#include <string.h>
#include <time.h>

#include "base/files.h"
#include "cli/table.h"

enum { TIMELINE_RECORDS = 200000, CSV_BYTES_MOST = 64 << 20 };

void simulate_report(report *r, const cli_call *call, const char *title)
{
    bool is_timed = cli_given(call, "trace") || cli_given(call, "html");

    report_init(r, call->arguments[0], title, is_timed ? TIMELINE_RECORDS : 0);
}

double simulate_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* ---- text ---- */

static spry_status print_table(const report_table *from, FILE *to, spry_error *error)
{
    table_column columns[REPORT_COLUMNS_MOST + 1] = {{NULL, false}};
    spry_status status;
    table t;

    for (int c = 0; c < from->column_count; c++) {
        columns[c] = (table_column){from->columns[c].title, from->columns[c].digits >= 0};
    }
    table_init(&t, columns);
    for (size_t i = 0; i < report_rows(from) * (size_t)from->column_count; i++) {
        const report_column *column = &from->columns[i % (size_t)from->column_count];

        if (from->values[i].word != NULL) {
            table_cell(&t, "%s", from->values[i].word);
        } else {
            table_cell(&t, "%.*f", column->digits, from->values[i].number);
        }
    }
    status = table_print(&t, TABLE_PLAIN, to, error);
    table_fini(&t);
    return status;
}

static int longest_title(const report *r)
{
    size_t longest = r->energy_count > 0 ? strlen("energy") : 0;

    for (size_t i = 0; i < r->fact_count; i++) {
        size_t length = strlen(r->facts[i].title);

        longest = length > longest ? length : longest;
    }
    return (int)longest;
}

static spry_status print_text(const cli_call *call, const report *r, spry_error *error)
{
    int width = longest_title(r);
    spry_status status = SPRY_OK;

    for (size_t i = 0; i < r->table_count && status == SPRY_OK; i++) {
        if (!r->tables[i].is_quiet) {
            status = print_table(&r->tables[i], call->out, error);
            (void)fputs(r->fact_count > 0 ? "\n" : "", call->out);
        }
    }
    for (size_t i = 0; i < r->fact_count; i++) {
        const report_fact *f = &r->facts[i];

        char number[REPORT_SHOWN];

        report_show(f, number);
        (void)fprintf(call->out, "%-*s  %s%s%s\n", width, f->title, number,
                      f->unit[0] != '\0' ? " " : "", f->unit);
    }
    if (r->energy_count > 0) {
        (void)fprintf(call->out, "%-*s  %.4g mJ\n", width, "energy", report_joules(r) * 1e3);
    }
    return status;
}

/* ---- for programs ---- */

static spry_status print_json(const cli_call *call, const report *r, const target *t,
                              const output_record *record, spry_error *error)
{
    output_document document;
    spry_status status;

    output_begin(&document, call);
    json_write_string(&document.json, "model", r->model);
    if (t != NULL) {
        target_write_resolved(t, &document.json, "target");
    }
    report_write_json(r, &document.json);
    status = output_write_record(&document.json, record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status write_csv(const report *r, const char *path, spry_error *error)
{
    spry_status status;
    text rows;

    text_init(&rows, NULL, CSV_BYTES_MOST);
    if (report_write_csv(r, &rows)) {
        status = text_status(&rows, path, error);
    } else {
        status = spry_fail(error, SPRY_USAGE, "--csv", NULL, "there are no rows to write");
    }
    if (status == SPRY_OK) {
        status = file_replace(path, rows.data, rows.length, error);
    }
    text_fini(&rows);
    return status;
}

spry_status simulate_tell(const cli_call *call, const report *r, const target *t,
                          const output_record *record, spry_error *error)
{
    const char *csv = cli_text(call, "csv");
    const char *page = cli_text(call, "html");
    const char *trace = cli_text(call, "trace");
    spry_status status = report_status(r, error);

    if (status == SPRY_OK && csv != NULL) {
        status = write_csv(r, csv, error);
    }
    if (status == SPRY_OK && trace != NULL) {
        status = timeline_write(r->timeline, r->title, trace, error);
        if (status == SPRY_OK && timeline_dropped(r->timeline) > 0) {
            output_note(call, "%s has the first %d records, %llu more are left out", trace,
                        (int)TIMELINE_RECORDS, (unsigned long long)timeline_dropped(r->timeline));
        }
    }
    if (status == SPRY_OK && page != NULL) {
        status = simulate_page(call, r, t, page, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    return cli_given(call, "json") ? print_json(call, r, t, record, error)
                                   : print_text(call, r, error);
}
