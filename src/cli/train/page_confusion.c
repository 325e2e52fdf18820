/* What a trained classifier takes for what: a coloured grid of few classes, a list for many. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/page.h"
#include "cli/train/page.h"
#include "spry/tensor.h"

enum {
    MOST_GRID_CLASSES = 60,
    MOST_NUMBERED = 20, /* classes of a grid whose cells have room for a number */
    LISTED = 30,
    WORST_CLASSES = 15,
    LONGEST_NAME = 14,  /* characters beside the grid */
    NAMED_MARGIN = 104, /* beside the grid, for names */
    BARE_MARGIN = 32    /* and for numbers of classes alone */
};

/* Samples of one class that were taken for one class. */
typedef struct confusion {
    int64_t label, guess;
    int64_t count;
} confusion;

typedef struct grid {
    const spry_dataset *names;
    const confusion *pairs; /* by label, then guess */
    int64_t pair_count;
    int64_t classes;
    int margin;
    const int64_t *totals; /* samples of each class; NULL: too many classes for a grid */
} grid;

/* ---- counting ---- */

static int by_classes(const void *left, const void *right)
{
    const confusion *a = left;
    const confusion *b = right;

    if (a->label != b->label) {
        return a->label < b->label ? -1 : 1;
    }
    return (a->guess > b->guess) - (a->guess < b->guess);
}

/* The most frequent first; of equals the first by class. */
static int by_count(const void *left, const void *right)
{
    const confusion *a = left;
    const confusion *b = right;

    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    return by_classes(left, right);
}

static spry_status count_pairs(grid *g, const spry_evaluation *result, arena *memory,
                               spry_error *error)
{
    const int64_t *labels = spry_tensor_const_data(spry_evaluation_labels(result));
    const int64_t *guesses = spry_tensor_const_data(spry_evaluation_predictions(result));
    int64_t samples = spry_evaluation_totals(result)->count;
    confusion *pairs = arena_array(memory, (size_t)samples, sizeof *pairs);
    int64_t count = 0;

    if (pairs == NULL) {
        return alloc_failed(error, (size_t)samples * sizeof *pairs);
    }
    for (int64_t i = 0; i < samples; i++) {
        pairs[i] = (confusion){labels[i], guesses[i], 1};
    }
    qsort(pairs, (size_t)samples, sizeof *pairs, by_classes);
    for (int64_t i = 0; i < samples; i++) {
        if (count > 0 && by_classes(&pairs[count - 1], &pairs[i]) == 0) {
            pairs[count - 1].count++;
        } else {
            pairs[count++] = pairs[i];
        }
    }
    g->pairs = pairs;
    g->pair_count = count;
    return SPRY_OK;
}

static spry_status count_classes(grid *g, arena *memory, spry_error *error)
{
    int64_t *totals;

    g->classes = spry_dataset_class_count(g->names);
    for (int64_t i = 0; i < g->pair_count; i++) {
        g->classes = g->pairs[i].guess >= g->classes ? g->pairs[i].guess + 1 : g->classes;
    }
    if (g->classes > MOST_GRID_CLASSES) {
        return SPRY_OK;
    }
    totals = arena_zeroed(memory, (size_t)g->classes * sizeof *totals);
    if (totals == NULL) {
        return alloc_failed(error, (size_t)g->classes * sizeof *totals);
    }
    for (int64_t i = 0; i < g->pair_count; i++) {
        totals[g->pairs[i].label] += g->pairs[i].count;
    }
    g->totals = totals;
    return SPRY_OK;
}

/* ---- names ---- */

/* The number of a class, and its name where it has one. */
static void append_class(text *to, const grid *g, int64_t label)
{
    const char *name = spry_dataset_class_name(g->names, label);

    text_append_format(to, "%" PRId64, label);
    if (name != NULL) {
        text_append_char(to, ' ');
        page_escaped(to, name);
    }
}

/* At most LONGEST_NAME characters of what a class is called. */
static void append_short(text *to, const grid *g, int64_t label)
{
    const char *name = spry_dataset_class_name(g->names, label);
    size_t length = name != NULL ? strlen(name) : 0;
    size_t end = 0;

    if (length == 0) {
        text_append_format(to, "%" PRId64, label);
        return;
    }
    for (int i = 0; i < LONGEST_NAME && end < length; i++) {
        size_t one = text_utf8_length(name + end, length - end);

        end += one > 0 ? one : 1;
    }
    text_append_escaped(to, TEXT_MARKUP, name, end);
    text_append_string(to, end < length ? "&hellip;" : "");
}

/* ---- the grid ---- */

static void draw_names(text *to, const grid *g, int size)
{
    for (int64_t i = 0; i < g->classes; i++) {
        double at = g->margin + ((double)i + 0.5) * size;

        text_append_format(to, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", g->margin - 6,
                           at + 3.5);
        append_short(to, g, i);
        text_append_format(to, "</text><text transform=\"translate(%.1f %d) rotate(-90)\">",
                           at + 3.5, g->margin - 6);
        append_short(to, g, i);
        text_append_string(to, "</text>\n");
    }
}

static void draw_cell(text *to, const grid *g, const confusion *pair, int size)
{
    double share = (double)pair->count / (double)g->totals[pair->label];
    bool is_right = pair->label == pair->guess;
    int x = g->margin + (int)pair->guess * size;
    int y = g->margin + (int)pair->label * size;

    /* Rare confusions are to be seen too: the root of the share. */
    text_append_format(
        to, "<g><title>%s%" PRId64 " of %" PRId64 " (%.1f %%): ", is_right ? "" : "wrong, ",
        pair->count, g->totals[pair->label], 100.0 * share);
    append_class(to, g, pair->label);
    if (!is_right) {
        text_append_string(to, " taken for ");
        append_class(to, g, pair->guess);
    }
    text_append_format(to,
                       "</title><rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                       "fill-opacity=\"%.2f\"/>",
                       is_right ? "right" : "wrong", x, y, size, size, 0.1 + 0.8 * sqrt(share));
    if (g->classes <= MOST_NUMBERED) {
        text_append_format(to,
                           "<text class=\"number\" x=\"%.1f\" y=\"%.1f\" "
                           "text-anchor=\"middle\">%" PRId64 "</text>",
                           x + size / 2.0, y + size / 2.0 + 4.0, pair->count);
    }
    text_append_string(to, "</g>\n");
}

static void append_grid(text *to, const grid *g)
{
    int size = g->classes <= 12 ? 44 : g->classes <= MOST_NUMBERED ? 34 : 17;
    int side = (int)g->classes * size;

    text_append_format(
        to,
        "<p class=\"dim\">A row is a class, a column what the model took it for; "
        "the stronger its colour, the larger the share of the row. Numbers are shown on "
        "hovering.</p>\n<div class=\"scroll matrix\"><svg id=\"confusions\" "
        "width=\"%d\" height=\"%d\" role=\"img\">",
        g->margin + side + 12, g->margin + side + 12);
    draw_names(to, g, size);
    for (int64_t i = 0; i < g->pair_count; i++) {
        draw_cell(to, g, &g->pairs[i], size);
    }
    text_append_string(to, "<path class=\"mark\" d=\"");
    for (int64_t i = 0; i <= g->classes; i++) {
        int at = g->margin + (int)i * size;

        text_append_format(to, "M%d %dH%dM%d %dV%d", g->margin, at, g->margin + side, at, g->margin,
                           g->margin + side);
    }
    text_append_string(to, "\"/></svg></div>\n");
}

/* ---- lists ---- */

static spry_status append_list(text *to, const grid *g, arena *memory, spry_error *error)
{
    confusion *wrong = arena_array(memory, (size_t)g->pair_count, sizeof *wrong);
    int64_t count = 0;

    if (wrong == NULL) {
        return alloc_failed(error, (size_t)g->pair_count * sizeof *wrong);
    }
    for (int64_t i = 0; i < g->pair_count; i++) {
        if (g->pairs[i].label != g->pairs[i].guess) {
            wrong[count++] = g->pairs[i];
        }
    }
    qsort(wrong, (size_t)count, sizeof *wrong, by_count);
    text_append_format(to,
                       "<p class=\"dim\">The most frequent of %" PRId64
                       " different confusions.</p>\n<div class=\"scroll\"><table "
                       "id=\"confusions\">\n<tr><th>class</th><th>taken for</th><th class=\"n\">"
                       "samples</th></tr>\n",
                       count);
    for (int64_t i = 0; i < count && i < LISTED; i++) {
        text_append_string(to, "<tr><td class=\"name\">");
        append_class(to, g, wrong[i].label);
        text_append_string(to, "</td><td class=\"name\">");
        append_class(to, g, wrong[i].guess);
        text_append_string(to, "</td>");
        page_decimal(to, "count", (double)wrong[i].count, 0);
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</table></div>\n");
    return SPRY_OK;
}

static void append_worst(text *to, const grid *g, const spry_evaluation *result)
{
    const spry_evaluate_class *rows = NULL;
    int32_t count = spry_evaluation_classes(result, &rows);

    text_append_string(to, "<h2>Least often recognised</h2>\n<div class=\"scroll\"><table>\n<tr>"
                           "<th>class</th><th class=\"n\">right</th><th class=\"n\">of</th>"
                           "<th class=\"n\">%</th><th>most often taken for</th></tr>\n");
    for (int32_t i = 0; i < count && i < WORST_CLASSES; i++) {
        text_append_format(to, "<tr data-class=\"%" PRId64 "\"><td class=\"name\">", rows[i].label);
        append_class(to, g, rows[i].label);
        text_append_string(to, "</td>");
        page_decimal(to, "right", (double)rows[i].right, 0);
        page_decimal(to, "count", (double)rows[i].count, 0);
        text_append_format(to, "<td class=\"n\">%.2f</td><td class=\"name\">",
                           100.0 * (double)rows[i].right / (double)rows[i].count);
        if (rows[i].mistaken >= 0) {
            append_class(to, g, rows[i].mistaken);
        }
        text_append_string(to, "</td></tr>\n");
    }
    text_append_string(to, "</table></div>\n");
}

spry_status train_page_confusions(text *to, const spry_evaluation *result,
                                  const spry_dataset *names, arena *memory, spry_error *error)
{
    const spry_evaluate_totals *totals = spry_evaluation_totals(result);
    bool is_named = spry_dataset_class_name(names, 0) != NULL;
    grid g = {.names = names, .margin = is_named ? NAMED_MARGIN : BARE_MARGIN};
    spry_status status = count_pairs(&g, result, memory, error);

    if (status == SPRY_OK) {
        status = count_classes(&g, memory, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    text_append_format(to,
                       "<h2>Confusions</h2>\n<p>The trained model, on the validation data: "
                       "%.2f %% of %" PRId64 " samples right.</p>\n",
                       100.0 * totals->top1, totals->count);
    if (g.totals != NULL) {
        append_grid(to, &g);
    } else {
        status = append_list(to, &g, memory, error);
    }
    append_worst(to, &g, result);
    return status;
}
