/* The roofline of all layers, memory over time, and the machine that both stand on. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "cli/page.h"
#include "cli/report/page.h"
#include "inspect/chart.h"

enum {
    WIDTH = 760,
    HEIGHT = 420,
    ROOFS = MACHINE_LEVELS - 1 + PEAK_TYPES, /* L2, L3, memory; peaks */
    SERIES = ROOFS + REPORT_BOUNDS,
    LABELLED = 5,
    LOW_HEIGHT = 220
};

/* ---- roofline ---- */

typedef struct roofline {
    report *r;
    spry_chart_series series[SERIES];
    const char *classes[SERIES];
    const char *const *titles[SERIES];
    double ends[ROOFS][4]; /* x, x, y, y of each roof */
    int32_t count;
    double least_x, most_x, least_y;
} roofline;

static double intensity(const report_layer *l)
{
    return l->bytes > 0.0 ? l->operations / l->bytes : 0.0;
}

static double gflops(const report_layer *l)
{
    return l->ms > 0.0 ? 1e-6 * l->operations / l->ms : 0.0;
}

static bool is_shown(const report_layer *l)
{
    return l->operations > 0.0 && l->bytes > 0.0 && l->ms > 0.0;
}

static void find_frame(roofline *f)
{
    f->least_x = 1.0;
    f->most_x = 100.0;
    f->least_y = 10.0;
    for (int32_t i = 0; i < f->r->layer_count; i++) {
        const report_layer *l = &f->r->layers[i];

        if (is_shown(l)) {
            f->least_x = fmin(f->least_x, intensity(l));
            f->most_x = fmax(f->most_x, intensity(l));
            f->least_y = fmin(f->least_y, gflops(l));
        }
    }
}

static void add_roof(roofline *f, const char *name, const char *class, double x0, double y0,
                     double x1, double y1)
{
    double *ends = f->ends[f->count];

    ends[0] = x0;
    ends[1] = x1;
    ends[2] = y0;
    ends[3] = y1;
    f->classes[f->count] = class;
    f->series[f->count++] =
        (spry_chart_series){.name = name, .x = ends, .y = ends + 2, .count = 2, .is_line = true};
}

static const char *const level_classes[MACHINE_LEVELS] = {"", "roof l2", "roof l3", "roof dram"};
static const char *const peak_classes[PEAK_TYPES] = {"roof f32", "roof bf16", "roof s8"};

/* Is there a layer that multiplies such numbers? */
static bool has_type(const report *r, peak_type type)
{
    for (int32_t i = 0; i < r->layer_count; i++) {
        if (peak_type_of(r->layers[i].row.kernel) == type && is_shown(&r->layers[i])) {
            return true;
        }
    }
    return false;
}

static void add_roofs(roofline *f)
{
    const machine *m = &f->r->m;
    double top = 0.0;

    for (int t = 0; t < PEAK_TYPES; t++) {
        double most = m->core.gigaflops[t] * m->threads;

        if (most > 0.0 && (t == PEAK_F32 || t == PEAK_S8 || has_type(f->r, (peak_type)t))) {
            top = fmax(top, most);
            add_roof(f, peak_type_name((peak_type)t), peak_classes[t], f->least_x, most, f->most_x,
                     most);
        }
    }
    for (int level = MACHINE_L2; level < MACHINE_LEVELS; level++) {
        double rate = m->rates[level] * 1e-9;
        double from = fmax(f->least_x, f->least_y / rate);
        double to = fmin(f->most_x, top / rate);

        if (from < to) {
            add_roof(f, machine_level_names[level], level_classes[level], from, from * rate, to,
                     to * rate);
        }
    }
}

/* The points of all layers with that bound. */
static bool add_points(roofline *f, report_bound bound)
{
    static const char *const classes[REPORT_BOUNDS] = {"p0", "p1", "p2", "p3"};
    report *r = f->r;
    size_t count = (size_t)r->layer_count + 1;
    double *x = arena_array(&r->memory, count, sizeof *x);
    double *y = arena_array(&r->memory, count, sizeof *y);
    const char **labels = arena_array(&r->memory, count, sizeof *labels);
    const char **titles = arena_array(&r->memory, count, sizeof *titles);
    int32_t shown = 0;

    if (x == NULL || y == NULL || labels == NULL || titles == NULL) {
        return false;
    }
    for (int32_t rank = 0; rank < r->layer_count; rank++) {
        const report_layer *l = &r->layers[r->slowest[rank]];

        if (!is_shown(l) || l->bound != bound) {
            continue;
        }
        x[shown] = intensity(l);
        y[shown] = gflops(l);
        labels[shown] = rank < LABELLED ? report_text(r, "%d", (int)rank + 1) : "";
        titles[shown] = report_text(
            r, "%s\n%.3g ms, %.1f %% of the time\n%.1f GFLOP/s at %.3g operations per byte",
            l->row.node, l->ms, 100.0 * report_share(r, l), y[shown], x[shown]);
        if (labels[shown] == NULL || titles[shown] == NULL) {
            return false;
        }
        shown++;
    }
    f->classes[f->count] = classes[bound];
    f->titles[f->count] = titles;
    f->series[f->count++] = (spry_chart_series){
        .name = report_bound_names[bound], .x = x, .y = y, .labels = labels, .count = shown};
    return true;
}

static void append_roofline_key(text *to, const roofline *f)
{
    text_append_string(to, "<p class=\"key\">");
    for (int32_t i = 0; i < f->count; i++) {
        if (f->series[i].is_line) {
            text_append_format(to, "<span><i class=\"line %s\"></i>", f->classes[i]);
            text_append_string(to, f->series[i].name);
            text_append_string(to, strstr(f->classes[i], " l") != NULL ||
                                           strstr(f->classes[i], " dram") != NULL
                                       ? " bandwidth</span> "
                                       : " peak</span> ");
        }
    }
    for (int b = 0; b < REPORT_BOUNDS; b++) {
        report_page_bound(to, (report_bound)b);
        text_append_char(to, ' ');
    }
    text_append_string(to, "</p>\n");
}

void report_page_roofline(text *to, report *r)
{
    roofline f = {.r = r};
    const chart_look look = {.classes = f.classes, .titles = f.titles, .is_plain = true};
    spry_chart chart = {.struct_size = sizeof chart,
                        .title = "roofline",
                        .x_name = "operations per byte moved",
                        .y_name = "GFLOP/s",
                        .series = f.series,
                        .log_x = true,
                        .log_y = true,
                        .width = WIDTH,
                        .height = HEIGHT};

    find_frame(&f);
    add_roofs(&f);
    for (int b = 0; b < REPORT_BOUNDS; b++) {
        to->failed = !add_points(&f, (report_bound)b) || to->failed;
    }
    chart.count = f.count;
    text_append_format(
        to,
        "<h2 id=\"roofline\">Roofline</h2>\n<p class=\"dim\">Each point is a layer: the further "
        "right, the more it computes with every byte; the higher, the faster (GFLOP/s). No layer "
        "can be above the slanted line of where its bytes lie, nor above the level line of its "
        "kind of numbers, with %d thread%s. A point close to a line is as fast as it can be; one "
        "far below all lines loses time elsewhere. Winograd's method counts the multiplications "
        "that it saves, so it may be above. Numbers are the ranks of the costliest layers.</p>\n"
        "<div class=\"scroll chart\">",
        r->m.threads, r->m.threads == 1 ? "" : "s");
    chart_append(&chart, &look, to);
    text_append_string(to, "</div>\n");
    append_roofline_key(to, &f);
}

/* ---- memory ---- */

void report_page_memory(text *to, report *r)
{
    size_t count = 2 * (size_t)r->span_count + 1;
    double *x = arena_array(&r->memory, count, sizeof *x);
    double *y = arena_array(&r->memory, count, sizeof *y);
    spry_chart_series series = {.name = "memory", .x = x, .y = y, .is_line = true};
    const char *const class = "alive";
    const chart_look look = {.classes = &class, .is_plain = true};
    spry_chart chart = {.struct_size = sizeof chart,
                        .title = "memory over time",
                        .x_name = "ms",
                        .y_name = "MB",
                        .series = &series,
                        .count = 1,
                        .width = WIDTH,
                        .height = LOW_HEIGHT};
    double most = -1.0;
    int32_t at = -1;

    if (x == NULL || y == NULL) {
        to->failed = true;
        return;
    }
    for (int32_t i = 0; i < r->span_count; i++) {
        const report_span *s = &r->spans[i];
        double alive = s->layer >= 0 ? r->layers[s->layer].alive_bytes : -1.0;

        if (s->depth > 0 || s->lane > 0 || alive < 0.0) {
            continue;
        }
        x[series.count] = s->start;
        y[series.count++] = alive * 1e-6;
        x[series.count] = s->end;
        y[series.count++] = alive * 1e-6;
        at = alive > most ? s->layer : at;
        most = fmax(most, alive);
    }
    text_append_string(to, "<h2 id=\"memory\">Memory over time</h2>\n");
    if (series.count == 0 || at < 0) {
        text_append_string(to, "<p class=\"dim\">Sizes of results are not known before the run, so "
                               "there is nothing to draw.</p>\n");
        return;
    }
    text_append_format(to,
                       "<p class=\"dim\">MB of inputs and results that are still needed while "
                       "each layer runs. The most, %.2f MB, at ",
                       most * 1e-6);
    page_escaped(to, r->layers[at].row.node);
    text_append_format(to,
                       ". Placed side by side in memory, with room for kernels to work in, they "
                       "take %.2f MB; weights another %.2f MB.</p>\n<div class=\"scroll chart\">",
                       (double)r->arena_bytes * 1e-6, (double)r->packed_bytes * 1e-6);
    chart_append(&chart, &look, to);
    text_append_string(to, "</div>\n");
}

/* ---- the machine ---- */

void report_page_machine(text *to, const report *r)
{
    const machine *m = &r->m;
    char size[UNITS_SIZE];

    text_append_format(to,
                       "<h2 id=\"machine\">The machine</h2>\n<p class=\"dim\">What %d thread%s can "
                       "do at most, measured just now%s. At %.2f GHz.</p>\n<div "
                       "class=\"pair\"><div class=\"scroll\"><table>\n<tr><th>numbers</th><th "
                       "class=\"n\">GFLOP/s</th></tr>\n",
                       m->threads, m->threads == 1 ? "" : "s",
                       m->is_calibrated
                           ? ", or by spry doctor --calibrate where that found more"
                           : " (spry doctor --calibrate, with nothing else running, would make "
                             "these figures firmer)",
                       m->core.gigahertz);
    for (int t = 0; t < PEAK_TYPES; t++) {
        if (m->core.gigaflops[t] > 0.0) {
            text_append_format(to, "<tr data-peak=\"%s\"><td>%s</td>", peak_type_name((peak_type)t),
                               peak_type_name((peak_type)t));
            page_decimal(to, "gflops", m->core.gigaflops[t] * m->threads, 0);
            text_append_string(to, "</tr>\n");
        }
    }
    text_append_string(to,
                       "</table></div>\n<div class=\"scroll\"><table>\n<tr><th>bytes in</th><th "
                       "class=\"n\">size</th><th class=\"n\">GB/s</th></tr>\n");
    for (int i = 0; i < MACHINE_LEVELS; i++) {
        text_append_format(to, "<tr data-level=\"%d\"><td>%s</td><td class=\"n\">%s</td>", i,
                           machine_level_names[i],
                           i < MACHINE_DRAM ? units_bytes(size, (int64_t)m->sizes[i]) : "");
        page_decimal(to, "gbs", m->rates[i] * 1e-9, 1);
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</table></div></div>\n");
}
