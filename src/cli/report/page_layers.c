/* Tables of layers: all of one model, and two models side by side. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/page.h"
#include "cli/report/page.h"

/* ---- all layers ---- */

/* Which columns some layer has anything for. */
typedef struct columns {
    bool alone, density, zeros, input_zeros;
} columns;

static columns columns_of(const report *r)
{
    columns c = {.alone = r->alone_ms > 0.0};

    for (int32_t i = 0; i < r->layer_count; i++) {
        const spry_profile_row *row = &r->layers[i].row;

        c.density = c.density || row->density >= 0.0;
        c.zeros = c.zeros || (row->weight_density >= 0.0 && row->weight_density < 0.999);
        c.input_zeros = c.input_zeros || row->input_density >= 0.0;
    }
    return c;
}

static void append_heading(text *to, const char *title, const char *help)
{
    text_append_format(to, "<th class=\"n\" title=\"%s\">%s</th>", help, title);
}

static void append_headings(text *to, const columns *c)
{
    text_append_string(to, "<thead><tr><th class=\"n\">#</th><th>layer</th>");
    append_heading(to, "ms", "median time in one run");
    append_heading(to, "share", "of the time of all layers");
    text_append_string(to, "<th>bound by</th>");
    append_heading(to, "of possible", "time that the machine would need at least, over time taken");
    append_heading(to, "threads", "that its work is cut for");
    if (c->alone) {
        append_heading(to, "gain of threads", "time of one thread over this");
    }
    append_heading(to, "MMAC", "million multiply-adds");
    append_heading(to, "GFLOP/s", "two operations for each multiply-add");
    append_heading(to, "MB", "read and written, weights too");
    append_heading(to, "GB/s", "these bytes over the time");
    if (c->density) {
        append_heading(to, "pixels computed", "share of the results that the mask wants");
    }
    if (c->zeros) {
        append_heading(to, "weights not 0", "share of the weights");
        append_heading(to, "gain of zeros", "foretold time of the best dense way over this one");
    }
    if (c->input_zeros) {
        append_heading(to, "inputs not 0", "share of the input, from samples");
    }
    text_append_string(to, "<th>kernel and way</th></tr></thead>\n<tbody>\n");
}

/* A share in percent, or an empty cell below 0, which sorts last. */
static void append_percent(text *to, const char *key, double share)
{
    if (share < 0.0) {
        text_append_string(to, "<td class=\"n\"></td>");
        return;
    }
    page_cell(to, key, share);
    text_append_format(to, "%.0f %%</td>", 100.0 * share);
}

static void append_optional(text *to, const char *key, double number, int digits)
{
    if (number > 0.0) {
        page_decimal(to, key, number, digits);
    } else {
        text_append_string(to, "<td class=\"n\"></td>");
    }
}

static void append_layer(text *to, const report *r, int32_t index, const columns *c)
{
    const report_layer *l = &r->layers[index];
    double share = report_share(r, l);

    text_append_format(to, "<tr data-layer=\"%d\">", (int)index);
    page_decimal(to, "index", index + 1, 0);
    text_append_string(to, "<td class=\"name\">");
    report_page_layer_name(to, l);
    text_append_string(to, "</td>");
    page_decimal(to, "ms", l->ms, 4);
    page_cell(to, "share", share);
    text_append_format(to,
                       "%.1f %%<div class=\"meter\"><i style=\"width:%.1f%%\"></i></div></td><td>",
                       100.0 * share, 100.0 * share * r->layers_ms / r->layers[r->slowest[0]].ms);
    report_page_bound(to, l->bound);
    text_append_string(to, "</td>");
    append_percent(to, "reach", report_reach(l) > 0.0 ? report_reach(l) : -1.0);
    append_optional(to, "threads", l->row.threads, 0);
    if (c->alone) {
        append_optional(to, "gain_of_threads", l->ms > 0.0 ? l->alone_ms / l->ms : 0.0, 2);
    }
    append_optional(to, "mmac", 0.5e-6 * l->operations, 3);
    append_optional(to, "gflops", l->ms > 0.0 ? 1e-6 * l->operations / l->ms : 0.0, 1);
    append_optional(to, "mb", 1e-6 * l->bytes, 3);
    append_optional(to, "gbs", l->ms > 0.0 ? 1e-6 * l->bytes / l->ms : 0.0, 1);
    if (c->density) {
        append_percent(to, "density", l->row.density);
    }
    if (c->zeros) {
        append_percent(to, "weight_density", l->row.weight_density);
        append_optional(to, "gain", l->row.gain, 2);
    }
    if (c->input_zeros) {
        append_percent(to, "input_density", l->row.input_density);
    }
    text_append_string(to, "<td class=\"dim\">");
    page_escaped(to, l->row.kernel);
    text_append_string(to, l->row.plan[0] != '\0' ? ", " : "");
    page_escaped(to, l->row.plan);
    text_append_string(to, "</td></tr>\n");
}

void report_page_layers(text *to, const report *r)
{
    const columns c = columns_of(r);

    text_append_string(to, "<h2 id=\"layers\">All layers</h2>\n<p class=\"dim\">In the order in "
                           "which they run; choose a heading to sort by it. A layer is an operator "
                           "with those that run in the same pass over memory.</p>\n<p "
                           "class=\"tools\"><input type=\"search\" id=\"filter\" "
                           "placeholder=\"show only ...\" aria-label=\"show only layers with\"></p>"
                           "\n<div class=\"scroll tall\" tabindex=\"0\"><table class=\"sortable\" "
                           "id=\"all-layers\">\n");
    append_headings(to, &c);
    for (int32_t i = 0; i < r->layer_count; i++) {
        append_layer(to, r, i, &c);
    }
    text_append_string(to, "</tbody></table></div>\n");
}

/* ---- side by side ---- */

static void append_change(text *to, double first, double second)
{
    if (first > 0.0 && second > 0.0) {
        bool is_faster = second < first;
        double ratio = is_faster ? first / second : second / first;

        page_cell(to, "ratio", first / second);
        text_append_format(to, "<span class=\"%s\">%.2f &times; %s</span></td>",
                           ratio < 1.05 ? "dim"
                           : is_faster  ? "faster"
                                        : "slower",
                           ratio, is_faster ? "faster" : "slower");
    } else {
        text_append_string(to, "<td class=\"n dim\">only one has it</td>");
    }
}

static void append_pair(text *to, const report_page *p, const report_pair *pair)
{
    const report_layer *a = pair->first >= 0 ? &p->first.r->layers[pair->first] : NULL;
    const report_layer *b = pair->second >= 0 ? &p->second.r->layers[pair->second] : NULL;

    text_append_string(to, "<tr><td class=\"name\">");
    report_page_layer_name(to, a != NULL ? a : b);
    text_append_string(to, "</td>");
    append_optional(to, "first_ms", a != NULL ? a->ms : 0.0, 4);
    append_optional(to, "second_ms", b != NULL ? b->ms : 0.0, 4);
    page_decimal(to, "difference", (b != NULL ? b->ms : 0.0) - (a != NULL ? a->ms : 0.0), 4);
    append_change(to, a != NULL ? a->ms : 0.0, b != NULL ? b->ms : 0.0);
    for (int side = 0; side < 2; side++) {
        const report_layer *l = side == 0 ? a : b;

        text_append_string(to, "<td>");
        if (l != NULL) {
            report_page_bound(to, l->bound);
            text_append_string(to, " <span class=\"dim\">");
            page_escaped(to, l->row.kernel);
            text_append_string(to, "</span>");
        }
        text_append_string(to, "</td>");
    }
    text_append_string(to, "</tr>\n");
}

static double sum_of_pairs(const report_page *p, bool both, bool second)
{
    double ms = 0.0;

    for (int32_t i = 0; i < p->pair_count; i++) {
        const report_pair *pair = &p->pairs[i];
        int32_t at = second ? pair->second : pair->first;

        if (at >= 0 && (pair->first >= 0 && pair->second >= 0) == both) {
            ms += second ? p->second.r->layers[at].ms : p->first.r->layers[at].ms;
        }
    }
    return ms;
}

void report_page_against(text *to, const report_page *p)
{
    double a = p->first.r->runs.median_ms;
    double b = p->second.r->runs.median_ms;

    text_append_string(to, "<h2 id=\"against\">Side by side</h2>\n<p>");
    page_escaped(to, p->second.label);
    text_append_format(to, ": <b>%.4g ms</b> a run, <b>%.2f &times; %s</b> than ", b,
                       b < a ? a / b : b / a, b < a ? "faster" : "slower");
    page_escaped(to, p->first.label);
    text_append_format(to,
                       " (%.4g ms). Layers that both have take %.4g ms here and %.4g ms there, "
                       "others %.4g and %.4g ms. What follows below is about the first.</p>\n",
                       a, sum_of_pairs(p, true, false), sum_of_pairs(p, true, true),
                       sum_of_pairs(p, false, false), sum_of_pairs(p, false, true));
    text_append_string(to, "<div class=\"scroll tall\" tabindex=\"0\"><table class=\"sortable\" "
                           "id=\"pairs\">\n<thead><tr><th>layer</th><th class=\"n\">first, ms</th>"
                           "<th class=\"n\">second, ms</th><th class=\"n\">difference</th><th "
                           "class=\"n\">the second is</th><th>first: bound by</th><th>second: "
                           "bound by</th></tr></thead><tbody>\n");
    for (int32_t i = 0; i < p->pair_count; i++) {
        append_pair(to, p, &p->pairs[i]);
    }
    text_append_string(to, "</tbody></table></div>\n");
}
