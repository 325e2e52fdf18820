/* The page that spry train --html and spry adapt --html write, and its parts. */
#ifndef CLI_TRAIN_PAGE_H
#define CLI_TRAIN_PAGE_H

#include "base/arena.h"
#include "base/text.h"
#include "cli/train/command.h"
#include "spry/evaluate.h"

extern const char train_page_css[]; /* web/train/page.css, embedded by the build */

enum { TRAIN_PAGE_POINTS = 600 }; /* most of a curve */

/* Writes the page; where there is validation data, the trained model is measured on it once more,
 * for its confusions. Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status train_page_write(const train_outcome *outcome, const char *path,
                                           spry_error *error);

/* ---- curves (page_plot.c) ---- */

typedef struct train_line {
    const char *name;  /* markup */
    const char *class; /* how web/train/page.css draws it */
    const double *x, *y;
    int32_t count;
} train_line;

/* A figure with axes for all lines, 8 at most; values that are not finite are left out. `title` and
 * `axis`, the name of what x counts, are markup. Nothing where the first line has no points. */
void train_page_plot(text *to, const char *title, const char *axis, const train_line *lines,
                     int32_t count);

/* ---- confusions (page_confusion.c) ---- */

/* Classes against what the model took them for, and those least often recognised. `names` has the
 * classes' names, if any. Scratch from `memory`. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status train_page_confusions(text *to, const spry_evaluation *result,
                                                const spry_dataset *names, arena *memory,
                                                spry_error *error);

#endif
