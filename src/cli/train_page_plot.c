/* Curves over steps and epochs, as SVG. */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>

#include "cli/train_page.h"

enum { WIDTH = 400, HEIGHT = 200, LEFT = 52, RIGHT = 12, TOP = 8, BOTTOM = 34, FEW_POINTS = 40 };

typedef struct axis {
    double least, most;
    double step; /* between two marks */
} axis;

static double x_place(const axis *a, double x)
{
    return LEFT + (x - a->least) / (a->most - a->least) * (WIDTH - LEFT - RIGHT);
}

static double y_place(const axis *a, double y)
{
    return HEIGHT - BOTTOM - (y - a->least) / (a->most - a->least) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, so that at most `marks` steps make `width`. */
static double round_step(double width, int marks)
{
    double least = width / marks;
    double power = pow(10.0, floor(log10(least)));
    double ratio = least / power;

    return power * (ratio <= 1.0 ? 1.0 : ratio <= 2.0 ? 2.0 : ratio <= 5.0 ? 5.0 : 10.0);
}

/* Room for all values of one direction; `room` widens it to whole marks. */
static axis fit(const train_line *lines, int32_t count, bool is_y, int marks)
{
    axis a = {INFINITY, -INFINITY, 1.0};

    for (int32_t i = 0; i < count; i++) {
        for (int32_t j = 0; j < lines[i].count; j++) {
            double value = is_y ? lines[i].y[j] : lines[i].x[j];

            if (isfinite(lines[i].y[j])) {
                a.least = value < a.least ? value : a.least;
                a.most = value > a.most ? value : a.most;
            }
        }
    }
    if (!(a.least <= a.most)) {
        a.least = a.most = 0.0;
    }
    if (a.least == a.most) {
        double half = is_y && a.most != 0.0 ? fabs(a.most) * 0.5 : 0.5;

        a.least -= half;
        a.most += half;
    }
    a.step = round_step(a.most - a.least, marks);
    if (!is_y && a.step < 1.0) {
        a.step = 1.0; /* steps and epochs are whole */
    }
    if (is_y) {
        a.least = floor(a.least / a.step) * a.step;
        a.most = ceil(a.most / a.step) * a.step;
    }
    return a;
}

static void draw_axes(text *to, const axis *x, const axis *y, const char *name)
{
    double first = ceil(x->least / x->step);
    double last = floor(x->most / x->step + 1e-9);

    for (double i = round(y->least / y->step); i <= round(y->most / y->step); i += 1.0) {
        double at = y_place(y, i * y->step);

        text_append_format(to,
                           "<path class=\"mark\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" "
                           "text-anchor=\"end\">%.6g</text>",
                           LEFT, at, WIDTH - RIGHT, LEFT - 6, at + 3.5, i * y->step);
    }
    for (double i = first; i <= last; i += 1.0) {
        text_append_format(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.7g</text>",
                           x_place(x, i * x->step), HEIGHT - BOTTOM + 14, i * x->step);
    }
    text_append_format(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>",
                       (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, name);
}

static void draw_line(text *to, const train_line *line, const axis *x, const axis *y,
                      const char *name)
{
    text_append_format(to, "<polyline class=\"%s\" points=\"", line->class);
    for (int32_t i = 0; i < line->count; i++) {
        if (isfinite(line->y[i])) {
            text_append_format(to, "%.1f,%.1f ", x_place(x, line->x[i]), y_place(y, line->y[i]));
        }
    }
    text_append_string(to, "\"/>");
    for (int32_t i = 0; i < line->count && line->count <= FEW_POINTS; i++) {
        if (isfinite(line->y[i])) {
            text_append_format(to,
                               "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"><title>%s, "
                               "%s %.7g: %.6g</title></circle>",
                               line->class, x_place(x, line->x[i]), y_place(y, line->y[i]),
                               line->name, name, line->x[i], line->y[i]);
        }
    }
}

void train_page_plot(text *to, const char *title, const char *name, const train_line *lines,
                     int32_t count)
{
    axis x = fit(lines, count, false, 6);
    axis y = fit(lines, count, true, 6);

    if (lines[0].count == 0) {
        return;
    }
    text_append_format(to, "<figure><figcaption><b>%s</b>", title);
    for (int32_t i = 0; count > 1 && i < count; i++) {
        text_append_format(to, "<span><i class=\"%s\"></i>%s</span>", lines[i].class,
                           lines[i].name);
    }
    text_append_format(to,
                       "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>%s"
                       "</title>",
                       WIDTH, HEIGHT, title);
    draw_axes(to, &x, &y, name);
    for (int32_t i = 0; i < count; i++) {
        draw_line(to, &lines[i], &x, &y, name);
    }
    text_append_string(to, "</svg></figure>\n");
}
