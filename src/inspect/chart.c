/* Axes with round marks, and what is drawn on them. */
#include "inspect/chart.h"

#include <math.h>
#include <string.h>

#include "base/files.h"

extern const char chart_css[]; /* web/chart/chart.css, embedded by the build */

enum {
    WIDTH = 640,
    HEIGHT = 400,
    LEAST_SIDE = 160,
    MOST_SIDE = 4096,
    LEFT = 52,
    RIGHT = 12,
    TOP = 8,
    BOTTOM = 34,
    ROW = 18,    /* height of a line of text */
    LETTER = 7,  /* width, roughly */
    SWATCH = 24, /* in front of a name in the legend */
    CLASSES = 8,
    MOST_MARKS = 6,
    FEW_POINTS = 40, /* of a line, whose points are then drawn as well */
    MOST_BYTES = 256 << 20
};

typedef struct axis {
    double least, most; /* logarithms where is_log */
    double step;        /* between two marks; is_log: 1 for powers of ten only */
    double from, to;    /* pixels */
    bool is_log;
} axis;

typedef struct plot {
    const spry_chart *c;
    const chart_look *look;
    text *to;
    axis x, y;
    double width, height;
} plot;

/* ---- axes ---- */

static double scaled(const axis *a, double value)
{
    return a->is_log ? (value > 0 ? log10(value) : NAN) : value;
}

static double place(const axis *a, double value)
{
    return a->from + (scaled(a, value) - a->least) / (a->most - a->least) * (a->to - a->from);
}

static bool is_drawn(const plot *p, const spry_chart_series *s, int32_t i)
{
    return isfinite(scaled(&p->x, s->x[i])) && isfinite(scaled(&p->y, s->y[i]));
}

static bool has_diagonal(const plot *p)
{
    return p->c->diagonal && p->c->log_x == p->c->log_y;
}

/* 1, 2 or 5 times a power of ten, so that at most `marks` steps make `width`. */
static double round_step(double width, int marks)
{
    double least = width / marks;
    double power = pow(10.0, floor(log10(least)));
    double ratio = least / power;

    return power * (ratio <= 1.0 ? 1.0 : ratio <= 2.0 ? 2.0 : ratio <= 5.0 ? 5.0 : 10.0);
}

/* Widens [*least, *most] by the points of one direction. */
static void include(const plot *p, bool is_y, double *least, double *most)
{
    for (int32_t k = 0; k < p->c->count; k++) {
        const spry_chart_series *s = &p->c->series[k];

        for (int32_t i = 0; i < s->count; i++) {
            if (is_drawn(p, s, i)) {
                double v = is_y ? scaled(&p->y, s->y[i]) : scaled(&p->x, s->x[i]);

                *least = fmin(*least, v);
                *most = fmax(*most, v);
            }
        }
    }
}

/* Marks of a logarithmic axis at 1, 2 and 5, or at powers of ten where these are many. */
static void fit_powers(axis *a)
{
    static const double marks[] = {0.0, 0.30102999566398120, 0.69897000433601880, 1.0};
    double low = floor(a->least);
    double high = floor(a->most);

    a->step = a->most - a->least > 2.5 ? 1.0 : 0.0;
    if (a->step > 0) {
        a->least = low;
        a->most = ceil(a->most);
        return;
    }
    for (int i = 3; i >= 0; i--) {
        if (low + marks[i] <= a->least + 1e-9) {
            a->least = low + marks[i];
            break;
        }
    }
    for (int i = 0; i < 4; i++) {
        if (high + marks[i] >= a->most - 1e-9) {
            a->most = high + marks[i];
            break;
        }
    }
}

static void fit(axis *a, bool is_counted)
{
    if (!(a->least <= a->most)) {
        a->least = a->most = 0.0;
    }
    if (a->least == a->most) {
        double half = a->is_log || is_counted || a->most == 0.0 ? 0.5 : fabs(a->most) * 0.5;

        a->least -= half;
        a->most += half;
    }
    if (a->is_log) {
        fit_powers(a);
        return;
    }
    a->step = round_step(a->most - a->least, MOST_MARKS);
    if (is_counted) {
        a->step = fmax(a->step, 1.0);
        return;
    }
    a->least = floor(a->least / a->step + 1e-9) * a->step;
    a->most = ceil(a->most / a->step - 1e-9) * a->step;
}

static void fit_axes(plot *p)
{
    p->x = (axis){.least = INFINITY, .most = -INFINITY, .is_log = p->c->log_x};
    p->y = (axis){.least = INFINITY, .most = -INFINITY, .is_log = p->c->log_y};
    include(p, false, &p->x.least, &p->x.most);
    include(p, true, &p->y.least, &p->y.most);
    if (has_diagonal(p)) {
        p->x.least = p->y.least = fmin(p->x.least, p->y.least);
        p->x.most = p->y.most = fmax(p->x.most, p->y.most);
    }
    fit(&p->x, p->look->is_counted);
    fit(&p->y, false);
}

/* ---- text ---- */

static bool is_said(const char *string)
{
    return string != NULL && string[0] != '\0';
}

static void append_escaped(text *to, const char *string)
{
    if (string != NULL) {
        text_append_escaped(to, TEXT_MARKUP, string, strlen(string));
    }
}

/* "anchor" is start, middle or end. */
static void draw_text(const plot *p, const char *class, double x, double y, const char *anchor,
                      const char *string)
{
    text_append_format(p->to, "<text%s%s%s x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
                       class[0] != '\0' ? " class=\"" : "", class, class[0] != '\0' ? "\"" : "", x,
                       y, anchor);
    append_escaped(p->to, string);
    text_append_string(p->to, "</text>");
}

static void class_of(const plot *p, int32_t series, char *class, size_t size)
{
    text t;

    text_init_fixed(&t, class, size);
    if (p->look->classes != NULL) {
        text_append_string(&t, p->look->classes[series]);
    } else {
        text_append_format(&t, "s%d", (int)(series % CLASSES));
    }
}

/* ---- around the points ---- */

static void draw_mark(const plot *p, bool is_y, double value)
{
    double at = is_y ? place(&p->y, value) : place(&p->x, value);
    char number[32];
    text t;

    text_init_fixed(&t, number, sizeof number);
    text_append_format(&t, "%.6g", value);
    if (is_y) {
        text_append_format(p->to, "<path class=\"mark\" d=\"M%.1f %.1fH%.1f\"/>", p->x.from, at,
                           p->x.to);
        draw_text(p, "", p->x.from - 6, at + 3.5, "end", number);
    } else {
        if (!p->look->is_counted) {
            text_append_format(p->to, "<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/>", at, p->y.from,
                               p->y.to);
        }
        draw_text(p, "", at, p->y.from + 14, "middle", number);
    }
}

static void draw_axis(const plot *p, bool is_y)
{
    static const double factors[] = {1.0, 2.0, 5.0};
    const axis *a = is_y ? &p->y : &p->x;

    if (!a->is_log) {
        for (double i = ceil(a->least / a->step - 1e-9); i <= floor(a->most / a->step + 1e-9);
             i += 1.0) {
            draw_mark(p, is_y, i * a->step + 0.0); /* not -0 */
        }
        return;
    }
    for (double power = floor(a->least); power <= a->most + 1e-9; power += 1.0) {
        for (int i = 0; i < (a->step > 0 ? 1 : 3); i++) {
            double at = power + log10(factors[i]);

            if (at >= a->least - 1e-9 && at <= a->most + 1e-9) {
                draw_mark(p, is_y, pow(10.0, power) * factors[i]);
            }
        }
    }
}

static void draw_names(const plot *p)
{
    double middle = (p->y.from + p->y.to) / 2;

    draw_text(p, "", (p->x.from + p->x.to) / 2, p->height - 4, "middle", p->c->x_name);
    if (p->look->is_plain) {
        return;
    }
    if (is_said(p->c->title)) {
        draw_text(p, "title", p->x.from, ROW, "start", p->c->title);
    }
    if (is_said(p->c->y_name)) {
        text_append_format(p->to,
                           "<text transform=\"translate(14 %.1f) rotate(-90)\" "
                           "text-anchor=\"middle\">",
                           middle);
        append_escaped(p->to, p->c->y_name);
        text_append_string(p->to, "</text>");
    }
}

static bool has_legend(const plot *p)
{
    bool named = false;

    for (int32_t k = 0; k < p->c->count; k++) {
        named = named || is_said(p->c->series[k].name);
    }
    return named && !p->look->is_plain && p->c->count > 1;
}

static void draw_legend(const plot *p)
{
    for (int32_t k = 0, row = 0; has_legend(p) && k < p->c->count; k++) {
        char class[64];
        double y = p->y.to + 10 + row * ROW;

        if (!is_said(p->c->series[k].name)) {
            continue;
        }
        class_of(p, k, class, sizeof class);
        text_append_format(p->to, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", class,
                           p->x.to + 16, y - 4);
        draw_text(p, "", p->x.to + SWATCH, y, "start", p->c->series[k].name);
        row++;
    }
}

/* Where the axes lie: what is said around them takes room. */
static void lay_out(plot *p)
{
    size_t longest = 0;

    p->width = p->c->width > 0 ? p->c->width : WIDTH;
    p->height = p->c->height > 0 ? p->c->height : HEIGHT;
    p->x.from = LEFT + (is_said(p->c->y_name) && !p->look->is_plain ? ROW : 0);
    p->x.to = p->width - RIGHT;
    p->y.from = p->height - BOTTOM;
    p->y.to = TOP + (is_said(p->c->title) && !p->look->is_plain ? ROW + TOP : 0);
    for (int32_t k = 0; has_legend(p) && k < p->c->count; k++) {
        size_t length = p->c->series[k].name != NULL ? strlen(p->c->series[k].name) : 0;

        longest = length > longest ? length : longest;
    }
    if (longest > 0) {
        p->x.to -= fmin(SWATCH + (double)longest * LETTER, p->width / 3);
    }
}

/* ---- points ---- */

static void draw_tooltip(const plot *p, int32_t k, int32_t i)
{
    const spry_chart_series *s = &p->c->series[k];

    text_append_string(p->to, "<title>");
    if (p->look->titles != NULL && p->look->titles[k] != NULL) {
        append_escaped(p->to, p->look->titles[k][i]);
    } else {
        append_escaped(p->to, s->name);
        text_append_string(p->to, is_said(s->name) ? ", " : "");
        append_escaped(p->to, p->c->x_name);
        text_append_format(p->to, "%s%.7g: %.6g", is_said(p->c->x_name) ? " " : "", s->x[i],
                           s->y[i]);
    }
    text_append_string(p->to, "</title>");
}

static void draw_point(const plot *p, int32_t k, int32_t i, const char *class)
{
    const spry_chart_series *s = &p->c->series[k];
    double x = place(&p->x, s->x[i]);
    double y = place(&p->y, s->y[i]);

    text_append_format(p->to, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\">", class, x, y,
                       s->is_line ? "2.5" : "3.5");
    draw_tooltip(p, k, i);
    text_append_string(p->to, "</circle>");
    if (s->labels != NULL && is_said(s->labels[i])) {
        bool is_left = x + 8 + (double)strlen(s->labels[i]) * LETTER > p->x.to;

        draw_text(p, "label", is_left ? x - 7 : x + 7, y + 4, is_left ? "end" : "start",
                  s->labels[i]);
    }
}

static void draw_series(const plot *p, int32_t k)
{
    const spry_chart_series *s = &p->c->series[k];
    char class[64];

    class_of(p, k, class, sizeof class);
    if (s->is_line) {
        text_append_format(p->to, "<polyline class=\"%s\" points=\"", class);
        for (int32_t i = 0; i < s->count; i++) {
            if (is_drawn(p, s, i)) {
                text_append_format(p->to, "%.1f,%.1f ", place(&p->x, s->x[i]),
                                   place(&p->y, s->y[i]));
            }
        }
        text_append_string(p->to, "\"/>");
    }
    for (int32_t i = 0; i < s->count && (!s->is_line || s->count <= FEW_POINTS); i++) {
        if (is_drawn(p, s, i)) {
            draw_point(p, k, i, class);
        }
    }
}

void chart_append(const spry_chart *chart, const chart_look *look, text *to)
{
    plot p = {.c = chart, .look = look, .to = to};

    fit_axes(&p);
    lay_out(&p);
    text_append_format(to,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                       "role=\"img\"><title>",
                       p.width, p.height);
    append_escaped(to, chart->title);
    text_append_string(to, "</title>");
    if (look->style != NULL) {
        text_append_format(to,
                           "<style>\n%s</style>\n<rect class=\"ground\" width=\"100%%\" "
                           "height=\"100%%\"/>\n",
                           look->style);
    }
    draw_axis(&p, true);
    draw_axis(&p, false);
    draw_names(&p);
    if (has_diagonal(&p)) {
        text_append_format(to, "<path class=\"diagonal\" d=\"M%.1f %.1fL%.1f %.1f\"/>", p.x.from,
                           p.y.from, p.x.to, p.y.to);
    }
    for (int32_t k = 0; k < chart->count; k++) {
        draw_series(&p, k);
    }
    draw_legend(&p);
    text_append_string(to, "</svg>");
}

/* ---- a file ---- */

static bool has_points(const spry_chart *c)
{
    for (int32_t k = 0; k < c->count; k++) {
        for (int32_t i = 0; i < c->series[k].count; i++) {
            double x = c->series[k].x[i];
            double y = c->series[k].y[i];

            if (isfinite(x) && isfinite(y) && (!c->log_x || x > 0) && (!c->log_y || y > 0)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_side(int32_t pixels)
{
    return pixels == 0 || (pixels >= LEAST_SIDE && pixels <= MOST_SIDE);
}

spry_status spry_chart_save(const spry_chart *chart, const char *path, spry_error *error)
{
    const chart_look look = {.style = chart_css};
    spry_status status;
    text t;

    if (chart->struct_size != sizeof *chart) {
        return spry_fail(error, SPRY_USAGE, "chart", "set struct_size", "not initialised");
    }
    if (!is_side(chart->width) || !is_side(chart->height)) {
        return spry_fail(error, SPRY_USAGE, "chart", "use 160 to 4096 pixels",
                         "%d by %d is no size for it", (int)chart->width, (int)chart->height);
    }
    if (chart->diagonal && chart->log_x != chart->log_y) {
        return spry_fail(error, SPRY_USAGE, "chart", "make both or none logarithmic",
                         "axes of different kinds have no diagonal");
    }
    if (!has_points(chart)) {
        return spry_fail(error, SPRY_USAGE, "chart",
                         "a logarithmic axis shows numbers above 0 only", "no point can be drawn");
    }
    text_init(&t, NULL, MOST_BYTES);
    chart_append(chart, &look, &t);
    text_append_char(&t, '\n');
    status = text_status(&t, "chart", error);
    if (status == SPRY_OK) {
        status = file_replace(path, t.data, t.length, error);
    }
    text_fini(&t);
    return status;
}
