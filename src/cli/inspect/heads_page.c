/* What attention heads look at, as a page that opens without a network. All that comes from the
 * model and the command line is escaped; cells carry their number as the JSON report has it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cli/inspect/heads.h"
#include "cli/inspect/heads_picture.h"
#include "cli/page.h"
#include "cli/train/page.h"

extern const char heads_page_css[]; /* web/heads/page.css, embedded by the build */

enum { LIMITS = 7 };

typedef struct page_state {
    const cli_call *call;
    const spry_head *list;
    const spry_heads_cluster *clusters;
    spry_heads_totals totals;
    int32_t head_count;
    text page;
} page_state;

/* ---- head and totals ---- */

static void append_tiles(page_state *p)
{
    const spry_heads_totals *t = &p->totals;
    text *to = &p->page;
    char number[64];
    char detail[128];

    text_append_string(to, "<div class=\"tiles\">\n");
    (void)snprintf(number, sizeof number, "%d", (int)p->head_count);
    (void)snprintf(detail, sizeof detail, "in %d layers%s", (int)t->layers,
                   t->is_causal ? ", causal" : "");
    page_tile(to, "Heads", number, detail);
    (void)snprintf(number, sizeof number, "%d", (int)t->clusters);
    (void)snprintf(detail, sizeof detail, "silhouette %.3f, by chance %.3f &plusmn; %.3f",
                   t->silhouette, t->null_mean, t->null_deviation);
    page_tile(to, "Clusters", t->has_structure ? number : "none",
              t->has_structure ? detail : "nothing is better than chance");
    if (isfinite(t->stability)) {
        (void)snprintf(number, sizeof number, "%.3f", t->stability);
        (void)snprintf(detail, sizeof detail, "adjusted Rand index between resamplings");
        page_tile(to, "Stability", number, detail);
    }
    (void)snprintf(number, sizeof number, "%d", (int)t->sequences);
    (void)snprintf(detail, sizeof detail, "of %" PRId64 " tokens, %.2f s", t->tokens, t->seconds);
    page_tile(to, "Sequences", number, detail);
    text_append_string(to, "</div>\n");
}

/* ---- layers and heads ---- */

static void append_map(page_state *p)
{
    text *to = &p->page;
    int32_t widest = heads_picture_widest(p->list, p->head_count);

    text_append_format(to,
                       "<h2>Layers and heads</h2>\n<div class=\"both\"><svg class=\"heads\" "
                       "width=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\"><title>Layers and heads by "
                       "cluster</title>\n",
                       (int)(widest + 2) * HEADS_PICTURE_CELL,
                       (int)(widest + 2) * HEADS_PICTURE_CELL,
                       (int)(p->totals.layers + 1) * HEADS_PICTURE_CELL);
    heads_picture_map(to, p->list, p->head_count, p->clusters);
    text_append_string(to, "</svg>\n<ul class=\"legend\">\n");
    for (int32_t k = 0; k < p->totals.clusters; k++) {
        text_append_format(to, "<li><i class=\"c%d\"></i><b>%c</b> %s%s, %d head%s</li>\n", (int)k,
                           inspect_heads_letter(k), p->clusters[k].pattern,
                           p->clusters[k].is_mixed ? " (mixed)" : "", (int)p->clusters[k].count,
                           p->clusters[k].count == 1 ? "" : "s");
    }
    text_append_string(to, "</ul></div>\n");
}

/* ---- mean maps of medoids ---- */

static void append_heat(page_state *p, int32_t k)
{
    const spry_head *h = &p->list[p->clusters[k].medoid];
    text *to = &p->page;

    text_append_format(to,
                       "<figure><figcaption><b>%c</b> %s <span class=\"dim\">layer %d, head "
                       "%d</span></figcaption>\n<svg class=\"heat\" viewBox=\"0 0 %d %d\" "
                       "role=\"img\"><title>Mean attention of layer %d, head %d</title>\n",
                       inspect_heads_letter(k), p->clusters[k].pattern, (int)h->layer, (int)h->head,
                       HEADS_PICTURE_SIDE, HEADS_PICTURE_SIDE, (int)h->layer, (int)h->head);
    heads_picture_heat(to, h, k);
    text_append_string(to, "</svg></figure>\n");
}

static void append_heats(page_state *p)
{
    text_append_string(&p->page,
                       "<h2>Mean maps</h2>\n<p class=\"dim\">Of the head of each cluster that is "
                       "nearest to the others: queries from top to bottom, keys from left to "
                       "right, positions from the beginning to the end of a sequence. Darker is "
                       "more, by the square root.</p>\n<div class=\"maps\">\n");
    for (int32_t k = 0; k < p->totals.clusters; k++) {
        append_heat(p, k);
    }
    text_append_string(&p->page, "</div>\n");
}

/* ---- curves ---- */

static void append_profiles(page_state *p)
{
    static const char *const classes[] = {"c0", "c1", "c2", "c3", "c4",
                                          "c5", "c6", "c7", "c8", "c9"};
    double x[SPRY_HEADS_PROFILE];
    double y[SPRY_HEADS_MOST_CLUSTERS][SPRY_HEADS_PROFILE] = {{0}};
    char names[SPRY_HEADS_MOST_CLUSTERS][2] = {{0}};
    train_line lines[SPRY_HEADS_MOST_CLUSTERS];

    for (int i = 0; i < SPRY_HEADS_PROFILE; i++) {
        x[i] = (double)(i - SPRY_HEADS_PROFILE / 2);
    }
    for (int32_t k = 0; k < p->totals.clusters; k++) {
        for (int32_t n = 0; n < p->head_count; n++) {
            for (int i = 0; p->list[n].cluster == k && i < SPRY_HEADS_PROFILE; i++) {
                y[k][i] += p->list[n].profile[i] / p->clusters[k].count;
            }
        }
        names[k][0] = inspect_heads_letter(k);
        lines[k] = (train_line){names[k], classes[k], x, y[k], SPRY_HEADS_PROFILE};
    }
    text_append_string(&p->page, "<h2>By distance</h2>\n<div class=\"curves\">\n");
    train_page_plot(&p->page, "Mean weight of the key at a distance", "key minus query, tokens",
                    lines, p->totals.clusters);
    for (int32_t k = 0; k < p->totals.clusters && isfinite(p->clusters[k].limited[0]); k++) {
        for (int i = 0; i < LIMITS; i++) {
            y[k][i] = p->clusters[k].limited[i];
        }
        lines[k].count = LIMITS;
        for (int i = 0; i < LIMITS; i++) {
            x[i] = (double)i;
        }
    }
    if (p->totals.clusters > 0 && isfinite(p->clusters[0].limited[0])) {
        train_page_plot(&p->page, "Outputs moved when a cluster sees no further",
                        "logarithm of tokens to base 2", lines, p->totals.clusters);
    }
    text_append_string(&p->page, "</div>\n");
}

/* ---- tables ---- */

static void append_optional(text *to, const char *key, double number)
{
    if (isfinite(number)) {
        page_decimal(to, key, number, 4);
    } else {
        text_append_string(to, "<td class=\"n\">&ndash;</td>");
    }
}

static void append_functions(page_state *p)
{
    text *to = &p->page;

    if (p->totals.clusters == 0 || !isfinite(p->clusters[0].removed)) {
        return;
    }
    text_append_string(to, "<h2>What clusters do</h2>\n<p class=\"dim\">How far the outputs move, "
                           "by their length, when a cluster's heads give nothing, look everywhere "
                           "alike, or at nothing but the pattern; random sets have as many heads "
                           "of the same layers.");
    if (isfinite(p->totals.loss)) {
        text_append_format(to, " The loss of the next token is %.4f with all heads.",
                           p->totals.loss);
    }
    text_append_string(to, "</p>\n<div class=\"scroll\"><table>\n<tr><th>cluster</th><th "
                           "class=\"n\">removed</th><th class=\"n\">random</th><th class=\"n\">z"
                           "</th><th class=\"n\">uniform</th><th class=\"n\">pattern only</th><th "
                           "class=\"n\">loss removed</th><th class=\"n\">loss uniform</th><th "
                           "class=\"n\">loss pattern</th></tr>\n");
    for (int32_t k = 0; k < p->totals.clusters; k++) {
        const spry_heads_cluster *c = &p->clusters[k];

        text_append_format(to, "<tr data-function=\"%c\"><td><i class=\"c%d\"></i>%c %s</td>",
                           inspect_heads_letter(k), (int)k, inspect_heads_letter(k), c->pattern);
        append_optional(to, "removed", c->removed);
        append_optional(to, "random_mean", c->random_mean);
        append_optional(to, "z", (c->removed - c->random_mean) / c->random_deviation);
        append_optional(to, "uniform", c->uniform);
        append_optional(to, "substituted", c->substituted);
        append_optional(to, "loss_removed", c->loss_removed);
        append_optional(to, "loss_uniform", c->loss_uniform);
        append_optional(to, "loss_substituted", c->loss_substituted);
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</table></div>\n");
}

static void append_features(page_state *p)
{
    text *to = &p->page;

    text_append_string(to, "<h2>Features</h2>\n<div class=\"scroll tall\"><table>\n<tr><th>head"
                           "</th><th>cluster</th><th>alone</th>");
    for (int f = 0; f < SPRY_HEAD_FEATURES; f++) {
        text_append_format(to, "<th class=\"n\" title=\"%s\">%s</th>", spry_head_feature_help(f),
                           spry_head_feature_name(f));
    }
    text_append_string(to, "</tr>\n");
    for (int32_t i = 0; i < p->head_count; i++) {
        const spry_head *h = &p->list[i];

        text_append_format(to,
                           "<tr data-head=\"%d.%d\"><td>%d.%d</td><td><i class=\"c%d\"></i>%c"
                           "</td><td>%s</td>",
                           (int)h->layer, (int)h->head, (int)h->layer, (int)h->head,
                           (int)h->cluster, inspect_heads_letter(h->cluster), h->pattern);
        for (int f = 0; f < SPRY_HEAD_FEATURES; f++) {
            page_decimal(to, spry_head_feature_name(f), h->mean[f], 3);
        }
        text_append_string(to, "</tr>\n");
    }
    text_append_string(to, "</table></div>\n");
}

spry_status inspect_heads_page(const cli_call *call, const spry_heads *heads, const char *path,
                               spry_error *error)
{
    page_state p = {.call = call, .totals = spry_heads_describe(heads)};

    p.head_count = spry_heads_list(heads, &p.list);
    (void)spry_heads_clusters(heads, &p.clusters);
    text_init(&p.page, spry_allocator_system(), PAGE_MOST_BYTES);
    page_begin(&p.page, call->arguments[0], "attention heads", heads_page_css);
    text_append_string(&p.page, "<h1>");
    page_escaped(&p.page, call->arguments[0]);
    text_append_string(&p.page, "</h1>\n<p class=\"dim\">what attention heads look at in ");
    page_escaped(&p.page, cli_text(call, "text"));
    text_append_string(&p.page, "</p>\n");
    append_tiles(&p);
    append_map(&p);
    append_heats(&p);
    append_profiles(&p);
    append_functions(&p);
    append_features(&p);
    spry_status status = page_write(&p.page, (int)cli_integer(call, "threads"), path, error);
    text_fini(&p.page);
    return status;
}
