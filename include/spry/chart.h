/* Points on two axes as SVG, a picture for documents: it fetches nothing and follows the reader's
 * light or dark theme.
 *
 *     const double ms[] = {0.3, 0.5}, top1[] = {95.9, 97.1};
 *     const spry_chart_series series = {.name = "masked", .x = ms, .y = top1, .count = 2};
 *     const spry_chart chart = {.struct_size = sizeof chart, .x_name = "ms", .y_name = "top-1, %",
 *                               .series = &series, .count = 1};
 *     spry_status status = spry_chart_save(&chart, "chart.svg", &error); */
#ifndef SPRY_CHART_H
#define SPRY_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Text is UTF-8, and NULL where there is none. */
typedef struct spry_chart_series {
    const char *name;          /* in the legend, which one series alone does not need */
    const double *x, *y;       /* [count]; points that are not finite are left out, and those of 0
                                  and below on a logarithmic axis */
    const char *const *labels; /* [count], beside the points; NULL: none */
    int32_t count;
    bool is_line; /* points are joined in their order */
} spry_chart_series;

typedef struct spry_chart {
    size_t struct_size; /* sizeof(spry_chart): lets the struct grow */
    const char *title, *x_name, *y_name;
    const spry_chart_series *series; /* colours repeat after eight */
    int32_t count;
    bool log_x, log_y;
    bool diagonal; /* both axes have the same ends, and x = y is drawn: predicted and measured */
    int32_t width, height; /* in pixels, 160 to 4096; 0: 640 and 400 */
} spry_chart;

/* Writes the picture, replacing `path` as a whole. Fails with SPRY_USAGE (not initialised, a size
 * out of range, no point to draw, a diagonal of axes of which one is logarithmic), SPRY_IO,
 * SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_chart_save(const spry_chart *chart, const char *path,
                                                   spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
