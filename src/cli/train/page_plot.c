/* Curves over steps and epochs. */
#include "cli/train/page.h"
#include "inspect/chart.h"

enum { WIDTH = 400, HEIGHT = 200, MOST_LINES = 8 };

void train_page_plot(text *to, const char *title, const char *name, const train_line *lines,
                     int32_t count)
{
    spry_chart_series series[MOST_LINES];
    const char *classes[MOST_LINES];
    const chart_look look = {.classes = classes, .is_plain = true, .is_counted = true};
    const spry_chart chart = {.struct_size = sizeof chart,
                              .title = title,
                              .x_name = name,
                              .series = series,
                              .count = count,
                              .width = WIDTH,
                              .height = HEIGHT};

    if (lines[0].count == 0) {
        return;
    }
    text_append_format(to, "<figure><figcaption><b>%s</b>", title);
    for (int32_t i = 0; i < count; i++) {
        series[i] = (spry_chart_series){.name = lines[i].name,
                                        .x = lines[i].x,
                                        .y = lines[i].y,
                                        .count = lines[i].count,
                                        .is_line = true};
        classes[i] = lines[i].class;
        if (count > 1) {
            text_append_format(to, "<span><i class=\"%s\"></i>%s</span>", lines[i].class,
                               lines[i].name);
        }
    }
    text_append_string(to, "</figcaption>\n");
    chart_append(&chart, &look, to);
    text_append_string(to, "</figure>\n");
}
