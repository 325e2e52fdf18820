/* The page of a simulation: numbers, curves, heat maps, what happened when, energy, tables. All
 * that comes from a model, a target or the command line is escaped; cells carry their number as the
 * JSON document has it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/page.h"
#include "cli/simulate/tell.h"

enum { TALL = 40 }; /* rows above which a table scrolls by itself */

static void append_heading(text *to, const char *title)
{
    text_append_string(to, "<h2>");
    page_escaped(to, title);
    text_append_string(to, "</h2>\n");
}

static void append_head(text *to, const cli_call *call, const report *r, const target *t)
{
    text_append_string(to, "<h1>");
    page_escaped(to, r->title);
    text_append_string(to, "</h1>\n<p class=\"dim\">spry simulate");
    for (int i = 0; i < call->argument_count; i++) {
        text_append_char(to, ' ');
        page_escaped(to, call->arguments[i]);
    }
    if (t != NULL) {
        text_append_string(to, ", target ");
        page_escaped(to, target_name(t));
    }
    text_append_string(to, "</p>\n");
}

/* ---- numbers ---- */

static void append_tile(text *to, const report_fact *fact)
{
    char shown[REPORT_SHOWN];

    text_append_string(to, "<div class=\"tile\"><span class=\"dim\">");
    page_escaped(to, fact->title);
    text_append_format(to, "</span><b data-key=\"%s\"", fact->key);
    if (fact->word == NULL) {
        text_append_string(to, " data-value=\"");
        text_append_f64(to, fact->number);
        text_append_char(to, '"');
    }
    text_append_char(to, '>');
    report_show(fact, shown);
    page_escaped(to, shown);
    text_append_string(to, "</b><span class=\"dim\">");
    page_escaped(to, fact->unit);
    text_append_string(to, "</span></div>\n");
}

static void append_tiles(text *to, const report *r)
{
    text_append_string(to, r->fact_count > 0 ? "<div class=\"tiles\">\n" : "");
    for (size_t i = 0; i < r->fact_count; i++) {
        append_tile(to, &r->facts[i]);
    }
    text_append_string(to, r->fact_count > 0 ? "</div>\n" : "");
}

/* A bar of `share` (0 to 1): a picture, since the page allows no styles in attributes. */
static void append_bar(text *to, double share)
{
    text_append_format(to,
                       "<svg class=\"bar\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\">"
                       "<rect class=\"all\" width=\"100\" height=\"6\"/>"
                       "<rect class=\"s0\" width=\"%.1f\" height=\"6\"/></svg>",
                       100.0 * fmin(fmax(share, 0.0), 1.0));
}

/* ---- tables ---- */

static double largest_of(const report_table *t, int column)
{
    double most = 0.0;

    for (size_t row = 0; row < report_rows(t); row++) {
        most = fmax(most, t->values[row * (size_t)t->column_count + (size_t)column].number);
    }
    return most;
}

static void append_value(text *to, const report_column *c, const report_value *v, double most)
{
    if (v->word != NULL) {
        text_append_string(to, "<td class=\"name\">");
        page_escaped(to, v->word);
    } else {
        page_cell(to, c->key, v->number);
        text_append_format(to, "%.*f", c->digits, v->number);
        if (c->place == REPORT_BAR && most > 0) {
            append_bar(to, v->number / most);
        }
    }
    text_append_string(to, "</td>");
}

static void append_titles(text *to, const report_table *t)
{
    text_append_string(to, "<thead><tr>");
    for (int c = 0; c < t->column_count; c++) {
        text_append_string(to, t->columns[c].digits >= 0 ? "<th class=\"n\">" : "<th>");
        page_escaped(to, t->columns[c].title);
        text_append_string(to, "</th>");
    }
    text_append_string(to, "</tr></thead>\n");
}

static void append_table(text *to, const report_table *t)
{
    double most[REPORT_COLUMNS_MOST];

    for (int c = 0; c < t->column_count; c++) {
        most[c] = largest_of(t, c);
    }
    append_heading(to, t->title);
    text_append_format(to, "<div class=\"scroll%s\"><table id=\"t-%s\">\n",
                       report_rows(t) > TALL ? " tall" : "", t->key);
    append_titles(to, t);
    text_append_string(to, "<tbody>\n");
    for (size_t row = 0; row < report_rows(t); row++) {
        text_append_format(to, "<tr data-row=\"%zu\">", row);
        for (int c = 0; c < t->column_count; c++) {
            append_value(to, &t->columns[c], &t->values[row * (size_t)t->column_count + (size_t)c],
                         most[c]);
        }
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</tbody></table></div>\n");
}

/* ---- energy ---- */

static void append_energy(text *to, const report *r)
{
    double joules = report_joules(r);

    if (r->energy_count == 0) {
        return;
    }
    append_heading(to, "Energy");
    text_append_string(to, "<p class=\"dim\">counted events times the target's prices: ");
    text_append_format(to, "%.4g mJ in all</p>\n", joules * 1e3);
    text_append_string(to, "<div class=\"scroll\"><table id=\"t-energy\">\n<thead><tr><th>part</th>"
                           "<th>event</th><th class=\"n\">events</th><th class=\"n\">pJ each</th>"
                           "<th class=\"n\">mJ</th><th class=\"n\">share, %</th><th>source</th>"
                           "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < r->energy_count; i++) {
        const report_energy_row *row = &r->energy[i];
        double own = row->count * row->picojoules * 1e-12;

        text_append_format(to, "<tr data-row=\"%zu\"><td>", i);
        page_escaped(to, row->part);
        text_append_string(to, "</td><td>");
        page_escaped(to, row->event);
        text_append_string(to, "</td>");
        page_decimal(to, "count", row->count, 0);
        page_cell(to, "picojoules", row->picojoules);
        text_append_format(to, "%.4g</td>", row->picojoules);
        page_cell(to, "millijoules", own * 1e3);
        text_append_format(to, "%.4g</td>", own * 1e3);
        page_cell(to, "share", joules > 0 ? own / joules : 0.0);
        text_append_format(to, "%.1f", joules > 0 ? 100.0 * own / joules : 0.0);
        append_bar(to, joules > 0 ? own / joules : 0.0);
        text_append_string(to, "</td><td class=\"name dim\">");
        page_escaped(to, row->source);
        text_append_string(to, "</td></tr>\n");
    }
    text_append_string(to, "</tbody></table></div>\n");
}

/* ---- pictures ---- */

static void append_charts(text *to, const report *r)
{
    text_append_string(to, r->chart_count > 0 ? "<div class=\"curves\">\n" : "");
    for (size_t i = 0; i < r->chart_count; i++) {
        simulate_draw_chart(to, &r->charts[i]);
    }
    text_append_string(to, r->chart_count > 0 ? "</div>\n" : "");
}

static void append_heats(text *to, const report *r)
{
    text_append_string(to, r->heat_count > 0 ? "<div class=\"curves\">\n" : "");
    for (size_t i = 0; i < r->heat_count; i++) {
        simulate_draw_heat(to, &r->heats[i]);
    }
    text_append_string(to, r->heat_count > 0 ? "</div>\n" : "");
}

/* ---- what it was computed from ---- */

static void append_origin(text *to, const cli_call *call, const target *t)
{
    text resolved;
    json_writer json;

    text_append_string(to, "<details><summary>Options and target</summary>\n<pre>");
    for (int i = 0; i < call->value_count; i++) {
        const cli_option *option = cli_option_at(call->command, call->value_options[i]);

        text_append_format(to, "--%s ", option->name);
        page_escaped(to, option->kind == CLI_FLAG ? "" : call->values[i]);
        text_append_char(to, '\n');
    }
    if (t != NULL) {
        text_init(&resolved, NULL, PAGE_MOST_BYTES);
        json_writer_init(&json, &resolved, 2);
        json_write_object(&json, NULL);
        target_write_resolved(t, &json, target_name(t));
        json_write_end(&json);
        page_escaped(to, resolved.data);
        text_fini(&resolved);
    }
    text_append_string(to, "</pre></details>\n");
}

spry_status simulate_page(const cli_call *call, const report *r, const target *t, const char *path,
                          spry_error *error)
{
    spry_status status;
    text page;

    text_init(&page, NULL, PAGE_MOST_BYTES);
    page_begin(&page, r->title, "simulated", simulate_page_css);
    append_head(&page, call, r, t);
    append_tiles(&page, r);
    append_charts(&page, r);
    append_heats(&page, r);
    status = simulate_draw_timeline(&page, r->timeline, error);
    append_energy(&page, r);
    for (size_t i = 0; i < r->table_count; i++) {
        append_table(&page, &r->tables[i]);
    }
    append_origin(&page, call, t);
    if (status == SPRY_OK) {
        status = page_write(&page, 0, path, error);
    }
    text_fini(&page);
    return status;
}
