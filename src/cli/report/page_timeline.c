/* A typical run as bars: a row for each thread. */
#include <math.h>
#include <stdio.h>

#include "cli/page.h"
#include "cli/report/page.h"

enum {
    AXIS = 20, /* height of the row of times */
    LANE = 40, /* of a thread, the gap below it included */
    BAR = 32,
    MARKS = 8
};

static const double least_labelled = 0.035; /* share of the run from which a bar has a name */

/* Percent of the width. */
static double place(const report *r, double ms)
{
    return r->drawn_ms > 0.0 ? 100.0 * ms / r->drawn_ms : 0.0;
}

static int lanes_of(const report *r)
{
    return r->threads > r->lane_count ? r->threads : r->lane_count;
}

static void draw_axis(text *to, const report *r)
{
    double least = r->drawn_ms / MARKS;
    double power = pow(10.0, floor(log10(least > 0.0 ? least : 1.0)));
    double ratio = least / power;
    double step = power * (ratio <= 1.0 ? 1.0 : ratio <= 2.0 ? 2.0 : ratio <= 5.0 ? 5.0 : 10.0);
    int height = AXIS + LANE * lanes_of(r);

    for (int i = 0; step > 0.0 && i * step < 0.97 * r->drawn_ms; i++) {
        text_append_format(to,
                           "<line class=\"mark\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%d\" "
                           "y2=\"%d\"/><text x=\"%.3f%%\" dx=\"3\" y=\"12\">%g ms</text>",
                           place(r, i * step), place(r, i * step), 2, height, place(r, i * step),
                           i * step);
    }
}

/* How much of the time of a layer the helpers worked, if the caller always did: what one thread
 * takes is so much work. */
static double helpers_share(const report *r, const report_layer *l)
{
    int helpers = (l->row.threads > 0 ? l->row.threads : 1) - 1;

    if (helpers < 1 || !(l->alone_ms > 0.0) || !(l->ms > 0.0) || r->threads < 2) {
        return 0.0;
    }
    return fmin(1.0, fmax(0.0, (l->alone_ms / l->ms - 1.0) / helpers));
}

static void append_title(text *to, const report *r, const report_span *s, double helped)
{
    const report_layer *l = &r->layers[s->layer];

    text_append_string(to, "<title>");
    page_escaped(to, l->row.node);
    text_append_format(to, "\n%.4g ms from %.4g ms on, %.1f %% of the run\nbound by %s",
                       s->end - s->start, s->start, place(r, s->end - s->start),
                       report_bound_names[l->bound]);
    if (helped >= 0.0) {
        text_append_format(to, "\nthis thread: busy for about %.0f %% of it", 100.0 * helped);
    }
    text_append_string(to, "</title>");
}

static void draw_bar(text *to, const report *r, const report_span *s, int lane, double height,
                     bool is_helper)
{
    const report_layer *l = &r->layers[s->layer];
    double x = place(r, s->start);
    double width = place(r, s->end - s->start);
    double y = AXIS + LANE * lane + BAR - height;
    char class[32];

    text_append_format(to,
                       "<rect class=\"span %s%s\" data-layer=\"%d\" x=\"%.4f%%\" y=\"%.1f\" "
                       "width=\"%.4f%%\" height=\"%.1f\">",
                       report_page_family(l, class, sizeof class), is_helper ? " helper" : "",
                       (int)s->layer, x, y, fmax(width, 0.02), height);
    append_title(to, r, s, is_helper ? height / BAR : -1.0);
    text_append_string(to, "</rect>");
    if (!is_helper && width >= 100.0 * least_labelled && s->depth == 0) {
        /* An svg within clips its text. */
        text_append_format(to,
                           "<svg class=\"name\" x=\"%.4f%%\" y=\"%.1f\" width=\"%.4f%%\" "
                           "height=\"%d\"><text x=\"4\" y=\"14\">",
                           x, y, width, BAR);
        page_escaped(to, l->row.type);
        text_append_format(to, "</text><text x=\"4\" y=\"27\">%.3g ms</text></svg>",
                           s->end - s->start);
    }
}

static void draw_spans(text *to, const report *r)
{
    for (int32_t i = 0; i < r->span_count; i++) {
        const report_span *s = &r->spans[i];

        if (s->layer < 0) {
            continue;
        }
        draw_bar(to, r, s, s->lane, s->depth == 0 ? BAR : BAR / 2.0, false);
        for (int lane = r->lane_count;
             s->depth == 0 && lane < r->layers[s->layer].row.threads && lane < lanes_of(r);
             lane++) {
            double share = helpers_share(r, &r->layers[s->layer]);

            if (share > 0.0) {
                draw_bar(to, r, s, lane, BAR * share, true);
            }
        }
    }
}

void report_page_timeline(text *to, const report *r)
{
    double covered = 0.0;

    for (int32_t i = 0; i < r->span_count; i++) {
        covered += r->spans[i].depth == 0 && r->spans[i].lane == 0
                       ? r->spans[i].end - r->spans[i].start
                       : 0.0;
    }
    text_append_format(to,
                       "<h2 id=\"timeline\">Timeline of one run</h2>\n<p class=\"dim\">A typical "
                       "run, from left to right: each bar is a layer, as wide as it took long. "
                       "Layers take %.1f %% of it; the rest passes between them.",
                       r->drawn_ms > 0.0 ? 100.0 * covered / r->drawn_ms : 0.0);
    if (lanes_of(r) > r->lane_count && r->alone_ms > 0.0) {
        text_append_string(to,
                           " The upper row, the thread that called, was recorded. Rows below show "
                           "for how much of each layer the helping threads worked, as heights: "
                           "computed from the time that one thread alone takes, not recorded.");
    } else if (lanes_of(r) > r->lane_count) {
        text_append_string(to, " Recorded was the thread that called; its helpers were not.");
    }
    text_append_string(to, "</p>\n<p class=\"tools\"><button type=\"button\" data-zoom=\"0.5\" "
                           "title=\"narrower\">&minus;</button> <button type=\"button\" "
                           "data-zoom=\"2\" title=\"wider\">+</button> <button type=\"button\" "
                           "data-zoom=\"0\">whole run</button> <span id=\"chosen\" class=\"dim\" "
                           "aria-live=\"polite\">Choose a bar, or walk with the arrow keys, to "
                           "find its layer below.</span></p>\n");
    text_append_format(to,
                       "<div class=\"scroll timeline\" tabindex=\"0\"><svg width=\"100%%\" "
                       "height=\"%d\" role=\"img\" aria-label=\"timeline\">",
                       AXIS + LANE * lanes_of(r));
    draw_axis(to, r);
    draw_spans(to, r);
    text_append_string(to, "</svg></div>\n");
}
