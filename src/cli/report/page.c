/* The page: what to know first, then where the time went, then all figures. */
#include "cli/report/page.h"

#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "cli/page.h"
#include "inspect/family.h"
#include "inspect/page.h"
#include "measure/bench.h"

extern const char report_page_css[]; /* web/report/page.css, embedded by the build */
extern const char report_page_js[];  /* web/report/page.js */

enum { COSTLIEST = 5, CLASS_SIZE = 32, NUMBER = 64 };

/* ---- shared parts ---- */

const char *report_page_family(const report_layer *l, char *buffer, size_t size)
{
    const graph_node like = {.type = l->row.type, .domain = ""};

    (void)snprintf(buffer, size, "f-%s", family_of(&like));
    return buffer;
}

void report_page_bound(text *to, report_bound bound)
{
    text_append_format(to, "<span class=\"bound b%d\">%s</span>", (int)bound,
                       report_bound_names[bound]);
}

void report_page_layer_name(text *to, const report_layer *l)
{
    char class[CLASS_SIZE];

    text_append_format(to, "<span class=\"swatch %s\"></span><b>",
                       report_page_family(l, class, sizeof class));
    page_escaped(to, l->row.type);
    text_append_string(to, "</b> ");
    page_escaped(to, l->name[0] != '\0' ? l->name : l->row.node + strlen(l->row.type));
    if (l->fused[0] != '\0') {
        text_append_string(to, " <span class=\"dim\">with ");
        page_escaped(to, l->fused);
        text_append_string(to, "</span>");
    }
}

static void append_share_bar(text *to, double share)
{
    text_append_format(to, "<div class=\"meter\"><i style=\"width:%.1f%%\"></i></div>",
                       100.0 * (share < 1.0 ? share : 1.0));
}

/* ---- what to know first ---- */

static void append_tiles(text *to, const report *r)
{
    const spry_bench_result *runs = &r->runs;
    char number[NUMBER];
    char detail[160];
    char bytes[2][UNITS_SIZE];
    double least = 0.0;

    for (int32_t i = 0; i < r->layer_count; i++) {
        double reach = report_reach(&r->layers[i]);

        least += r->layers[i].ms * (reach < 1.0 ? reach : 1.0);
    }
    text_append_string(to, "<div class=\"tiles\">\n");
    (void)snprintf(number, sizeof number, "%.4g ms", runs->median_ms);
    (void)snprintf(detail, sizeof detail, "median of %d runs, %.4g to %.4g; %d thread%s",
                   (int)runs->runs, runs->min_ms, runs->max_ms, r->threads,
                   r->threads == 1 ? "" : "s");
    page_tile(to, "One run", number, detail);
    (void)snprintf(number, sizeof number, "%.0f %%",
                   r->layers_ms > 0.0 ? 100.0 * least / r->layers_ms : 0.0);
    page_tile(to, "Of what the machine can do", number,
              "time that its peaks would need, over time taken");
    if (r->alone_ms > 0.0) {
        (void)snprintf(number, sizeof number, "%.2f &times;", r->alone_ms / r->layers_ms);
        (void)snprintf(detail, sizeof detail, "as fast as one thread, which takes %.4g ms",
                       r->alone_ms);
        page_tile(to, "Gain of threads", number, detail);
    }
    (void)snprintf(detail, sizeof detail, "for results between layers, and %s of weights",
                   units_bytes(bytes[1], (int64_t)r->packed_bytes));
    page_tile(to, "Memory", units_bytes(bytes[0], (int64_t)r->arena_bytes), detail);
    text_append_string(to, "</div>\n");
}

static void append_words(text *to, const report *r)
{
    text_append_string(to, "<h2 id=\"words\">In words</h2>\n<ul class=\"words\">\n");
    for (int32_t i = 0; i < r->advice_count; i++) {
        text_append_string(to, "<li>");
        page_escaped(to, r->advice[i]);
        text_append_string(to, "</li>\n");
    }
    text_append_string(to, "</ul>\n");
}

static void append_costliest(text *to, const report *r)
{
    int32_t count = r->layer_count < COSTLIEST ? r->layer_count : COSTLIEST;

    text_append_string(to, "<h2 id=\"costliest\">The costliest layers</h2>\n<ol "
                           "class=\"costliest\">\n");
    for (int32_t i = 0; i < count; i++) {
        const report_layer *l = &r->layers[r->slowest[i]];

        text_append_format(to, "<li data-layer=\"%d\"><p class=\"head\">", (int)r->slowest[i]);
        report_page_layer_name(to, l);
        text_append_string(to, "</p>");
        append_share_bar(to, report_share(r, l));
        text_append_format(to, "<p><b>%.3g ms</b>, %.1f %% of the time. Bound by ", l->ms,
                           100.0 * report_share(r, l));
        report_page_bound(to, l->bound);
        text_append_string(to, ": ");
        page_escaped(to, l->why);
        text_append_string(to, "</p>");
        if (l->try_next[0] != '\0') {
            text_append_string(to, "<p><span class=\"try\">Try:</span> ");
            page_escaped(to, l->try_next);
            text_append_string(to, ".</p>");
        }
        text_append_string(to, "</li>\n");
    }
    text_append_string(to, "</ol>\n");
}

static void append_legend_of_bounds(text *to)
{
    static const char *const meaning[REPORT_BOUNDS] = {
        "it multiplies and adds about as fast as the processor can",
        "it moves bytes about as fast as where they lie gives them",
        "it reaches less than 40 % of either: it starts, waits, or does something else",
        "the same, and no fast kernel runs it"};

    text_append_string(to, "<p class=\"dim\">Bound by ");
    for (int b = 0; b < REPORT_BOUNDS; b++) {
        report_page_bound(to, (report_bound)b);
        text_append_format(to, " %s%s", meaning[b], b + 1 < REPORT_BOUNDS ? "; " : ".</p>\n");
    }
}

/* ---- operators ---- */

static void append_operator(text *to, const report *r, const spry_profile_row *sum)
{
    const report_layer like = {.row = *sum};
    char class[CLASS_SIZE];
    double share = sum->milliseconds / r->layers_ms;

    text_append_string(to, "<tr data-operator=\"");
    page_escaped(to, sum->type);
    text_append_format(to, "\"><td><span class=\"swatch %s\"></span>",
                       report_page_family(&like, class, sizeof class));
    page_escaped(to, sum->type);
    text_append_string(to, "</td>");
    page_decimal(to, "calls", (double)sum->calls, 0);
    page_decimal(to, "ms", sum->milliseconds, 3);
    page_cell(to, "share", share);
    text_append_format(to, "%.1f %%", 100.0 * share);
    append_share_bar(to, share);
    text_append_string(to, "</td>");
    page_decimal(to, "gflops",
                 sum->milliseconds > 0.0 ? 2e-6 * (double)sum->macs / sum->milliseconds : 0.0, 1);
    page_decimal(to, "mb", 1e-6 * (double)sum->bytes, 2);
    text_append_string(to, "</tr>\n");
}

static void append_operators(text *to, report *r)
{
    size_t count = (size_t)r->layer_count;
    spry_profile_row *rows = arena_array(&r->memory, 2 * count + 1, sizeof *rows);
    int32_t types;

    if (rows == NULL) {
        to->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = r->layers[i].row;
        rows[i].milliseconds = r->layers[i].ms;
        rows[i].calls = (int64_t)(r->layers[i].calls + 0.5);
    }
    types = bench_sum_types(rows, r->layer_count, rows + count);
    text_append_string(to,
                       "<h2 id=\"operators\">By operator</h2>\n<div class=\"scroll\"><table "
                       "class=\"sortable\"><thead>\n<tr><th>operator</th><th class=\"n\">in one "
                       "run</th><th class=\"n\">ms</th><th class=\"n\">share</th><th class=\"n\">"
                       "GFLOP/s</th><th class=\"n\">MB moved</th></tr></thead><tbody>\n");
    for (int32_t i = 0; i < types; i++) {
        append_operator(to, r, &rows[count + (size_t)i]);
    }
    text_append_string(to, "</tbody></table></div>\n");
}

/* ---- the page ---- */

static void append_head(text *to, const report_page *p)
{
    const page_head head = {.title = p->title,
                            .detail = "speed",
                            .styles = {page_base_css, drawing_css, report_page_css},
                            .has_script = true};

    page_open(to, &head);
    text_append_string(to, "<h1>");
    page_escaped(to, p->title);
    text_append_string(to, "</h1>\n<p class=\"dim\">Where the time of one run goes on this "
                           "machine: ");
    page_escaped(to, p->first.label);
    text_append_string(to, "</p>\n<nav>");
    if (p->second.r != NULL) {
        text_append_string(to, "<a href=\"#against\">side by side</a> ");
    }
    text_append_string(to, "<a href=\"#words\">in words</a> <a href=\"#costliest\">costliest "
                           "layers</a> <a href=\"#timeline\">timeline</a> <a href=\"#operators\">"
                           "operators</a> <a href=\"#roofline\">roofline</a> <a href=\"#layers\">"
                           "all layers</a> <a href=\"#memory\">memory</a> <a href=\"#drawing\">"
                           "graph</a> <a href=\"#machine\">machine</a></nav>\n");
}

spry_status report_page_save(const report_page *p, const char *path, spry_error *error)
{
    report *r = p->first.r;
    text page;
    spry_status status;

    text_init(&page, NULL, PAGE_MOST_BYTES);
    append_head(&page, p);
    append_tiles(&page, r);
    if (p->second.r != NULL) {
        report_page_against(&page, p);
    }
    append_words(&page, r);
    append_costliest(&page, r);
    append_legend_of_bounds(&page);
    report_page_timeline(&page, r);
    append_operators(&page, r);
    report_page_roofline(&page, r);
    report_page_layers(&page, r);
    report_page_memory(&page, r);
    status = report_page_graph(&page, r, error);
    report_page_machine(&page, r);
    text_append_string(&page, "<script>\n");
    text_append_string(&page, report_page_js);
    text_append_string(&page, "</script>\n");
    if (status == SPRY_OK) {
        status = page_write(&page, r->options.session.threads, path, error);
    }
    text_fini(&page);
    return status;
}
