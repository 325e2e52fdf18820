/* Histograms of weights on their grids, as SVG. */
#include <inttypes.h>

#include "cli/quantize/page.h"

enum { WIDTH = 260, TOP = 2, BASE = 40, HEIGHT = 56, CLOSEST_LINES = 4 };

/* From a weight to a place on the axis. */
typedef struct axis {
    double least, most;
} axis;

static double place(const axis *a, double x)
{
    double width = a->most - a->least;

    return width > 0.0 ? (x - a->least) / width * (WIDTH - 2) + 1.0 : WIDTH / 2.0;
}

static double code_value(const spry_quantize_block *b, int32_t code)
{
    return ((double)code - (double)b->zero) * (double)b->step;
}

/* Every n-th code is drawn, so that lines can be told apart. */
static int32_t lines_apart(const spry_quantize_block *b, const axis *a)
{
    double pixels = place(a, (double)b->step) - place(a, 0.0);
    int32_t apart = 1;

    while (pixels * apart < CLOSEST_LINES && apart < b->high - b->low) {
        apart *= 2;
    }
    return apart;
}

static void draw_counts(text *to, const spry_quantize_block *b, const axis *a)
{
    double width = (double)b->most - (double)b->least;
    int64_t most = 1;

    for (int i = 0; i < SPRY_QUANTIZE_BINS; i++) {
        most = b->counts[i] > most ? b->counts[i] : most;
    }
    for (int i = 0; i < SPRY_QUANTIZE_BINS; i++) {
        double left = place(a, (double)b->least + width * i / SPRY_QUANTIZE_BINS);
        double right = place(a, (double)b->least + width * (i + 1) / SPRY_QUANTIZE_BINS);
        double height = (double)(BASE - TOP) * (double)b->counts[i] / (double)most;

        if (b->counts[i] > 0) {
            text_append_format(to,
                               "<rect class=\"count\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                               "height=\"%.1f\"/>",
                               left, BASE - height, right - left > 1.2 ? right - left - 0.6 : 0.8,
                               height);
        }
    }
}

static void draw_codes(text *to, const spry_quantize_block *b, const axis *a, int32_t apart)
{
    text_append_format(to, "<path class=\"code\" d=\"");
    for (int32_t code = b->low; code <= b->high; code += apart) {
        text_append_format(to, "M%.1f %dv6", place(a, code_value(b, code)), BASE);
    }
    text_append_string(to, "\"/>");
}

void quantize_page_plot(text *to, const spry_quantize_block *b)
{
    double low = code_value(b, b->low);
    double high = code_value(b, b->high);
    axis a = {low < (double)b->least ? low : (double)b->least,
              high > (double)b->most ? high : (double)b->most};
    int32_t apart = lines_apart(b, &a);

    text_append_format(to,
                       "<svg width=\"%d\" height=\"%d\" role=\"img\"><title>output %" PRId64
                       ", input %" PRId64 ": %" PRId64 " weights, %.1f dB, step %.3g",
                       WIDTH, HEIGHT, b->output, b->input, b->weights, b->sqnr_db, (double)b->step);
    if (apart > 1) {
        text_append_format(to, ", one code of %" PRId32 " drawn", apart);
    }
    text_append_string(to, "</title>");
    draw_counts(to, b, &a);
    text_append_format(to, "<path class=\"axis\" d=\"M0 %d.5H%d\"/>", BASE, WIDTH);
    draw_codes(to, b, &a, apart);
    text_append_format(to, "<text x=\"0\" y=\"%d\">%.3g</text>", HEIGHT, a.least);
    text_append_format(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.3g</text></svg>", WIDTH,
                       HEIGHT, a.most);
}
