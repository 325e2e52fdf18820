/* The SVG element of a chart (spry/chart.h), as it stands in a file or in a page with rules of its
 * own for the classes: mark, diagonal, title, label, and what each series has. */
#ifndef INSPECT_CHART_H
#define INSPECT_CHART_H

#include "base/text.h"
#include "spry/chart.h"

typedef struct chart_look {
    const char *const *classes;       /* of the series; NULL: s0 to s7, in turn */
    const char *const *const *titles; /* of points, by series; NULL: names and numbers */
    const char *style;                /* rules that come with the picture; NULL: the page's */
    bool is_plain;   /* title and names of series are said elsewhere: here in tooltips only */
    bool is_counted; /* x counts steps: marks stand at whole numbers, the ends are the data's */
} chart_look;

void chart_append(const spry_chart *chart, const chart_look *look, text *to);

#endif
