/* The report of spry quantize as a page that opens without a network. All that comes from the model
 * is escaped; cells carry their number as the JSON report has it. */
#include "cli/quantize/page.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/units.h"
#include "cli/page.h"

static const double COST_DECADES = 4.0; /* that a bar of sensitivity shows */

/* ---- cells ---- */

static void append_bar(text *to, const char *class, double fraction)
{
    double width = fraction > 0.0 ? 100.0 * fraction : 0.0;

    text_append_format(to, "<div class=\"bar %s\"><i style=\"width:%.1f%%\"></i></div>", class,
                       width < 100.0 ? width : 100.0);
}

static void append_bits(text *to, int bits)
{
    text_append_format(to, "<td class=\"n\" data-key=\"bits\" data-value=\"%d\">", bits);
    if (bits == 0) {
        text_append_string(to, "<span class=\"badge f32\">f32</span></td>");
    } else {
        text_append_format(to, "<span class=\"badge\">%d</span></td>", bits);
    }
}

/* ---- head and totals ---- */

static void append_head(text *to, const quantize_result *r)
{
    page_begin(to, r->source, "quantized", quantize_page_css);
    text_append_string(to, "<h1>");
    page_escaped(to, r->source);
    text_append_string(to, "</h1>\n<p class=\"dim\">quantized with ");
    page_escaped(to, r->options->method);
    if (r->output != NULL) {
        text_append_string(to, " to ");
        page_escaped(to, r->output);
    }
    text_append_format(to, " in %.2f s", r->seconds);
    text_append_string(to, "</p>\n");
}

static void append_tiles(text *to, const quantize_result *r)
{
    char number[64];
    char detail[128];
    char bytes[2][UNITS_SIZE];
    int64_t macs;
    int64_t of_integers;

    text_append_string(to, "<div class=\"tiles\">\n");
    if (r->after.bytes > 0) {
        (void)snprintf(number, sizeof number, "%.2f &times; smaller",
                       (double)r->before.bytes / (double)r->after.bytes);
        (void)snprintf(detail, sizeof detail, "%s &rarr; %s",
                       units_bytes(bytes[0], r->before.bytes),
                       units_bytes(bytes[1], r->after.bytes));
        page_tile(to, "File", number, detail);
    }
    if (r->speed_up > 0.0) {
        (void)snprintf(number, sizeof number, "%.2f &times; %s",
                       r->speed_up < 1.0 ? 1.0 / r->speed_up : r->speed_up,
                       r->speed_up < 1.0 ? "slower" : "faster");
        (void)snprintf(detail, sizeof detail, "%.3f &rarr; %.3f ms a run", r->before.median_ms,
                       r->after.median_ms);
        page_tile(to, "Latency on this machine", number, detail);
    }
    if (r->after.top1 >= 0.0) {
        (void)snprintf(number, sizeof number, "%+.2f points",
                       100.0 * (r->after.top1 - r->before.top1));
        (void)snprintf(detail, sizeof detail, "%.2f &rarr; %.2f %% top-1", 100.0 * r->before.top1,
                       100.0 * r->after.top1);
        page_tile(to, "Accuracy", number, detail);
    }
    spry_quantization_macs(r->facts, &macs, &of_integers);
    if (macs > 0) {
        (void)snprintf(number, sizeof number, "%.1f %%",
                       100.0 * (double)of_integers / (double)macs);
        (void)snprintf(detail, sizeof detail, "of %s multiplications", units_count(bytes[0], macs));
        page_tile(to, "In integers", number, detail);
    }
    text_append_string(to, "</div>\n");
}

static void append_side(text *to, const char *name, const quantize_side *s)
{
    text_append_format(to, "<tr data-side=\"%s\"><td>%s</td>", name, name);
    page_decimal(to, "bytes", (double)s->bytes, 0);
    if (s->median_ms > 0.0) {
        page_decimal(to, "median_ms", s->median_ms, 3);
    } else {
        text_append_string(to, "<td class=\"n dim\">not measured</td>");
    }
    if (s->top1 >= 0.0) {
        page_cell(to, "top1", s->top1);
        text_append_format(to, "%.2f %%</td>", 100.0 * s->top1);
    } else {
        text_append_string(to, "<td class=\"n dim\">not measured</td>");
    }
    text_append_string(to, "</tr>\n");
}

static void append_sides(text *to, const quantize_result *r)
{
    if (r->after.bytes > 0) {
        text_append_string(to, "<h2>Before and after</h2>\n<div class=\"scroll\"><table>\n"
                               "<tr><th></th><th class=\"n\">bytes</th><th class=\"n\">ms a run"
                               "</th><th class=\"n\">top-1</th></tr>\n");
        append_side(to, "before", &r->before);
        append_side(to, "after", &r->after);
        text_append_string(to, "</table></div>\n");
    }
}

/* ---- layers ---- */

/* Noise over signal, as amplitudes. */
static double relative_error(double sqnr_db)
{
    return pow(10.0, -sqnr_db / 20.0);
}

static const spry_sensitivity_row *find_sensitivity(const spry_sensitivity *s, const char *node)
{
    const spry_sensitivity_row *rows;
    int32_t count = s != NULL ? spry_sensitivity_rows(s, &rows) : 0;

    for (int32_t i = 0; i < count; i++) {
        if (strcmp(rows[i].node, node) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static double most_divergence(const spry_sensitivity *s)
{
    const spry_sensitivity_row *rows;
    int32_t count = s != NULL ? spry_sensitivity_rows(s, &rows) : 0;
    double most = 0.0;

    for (int32_t i = 0; i < count; i++) {
        most =
            isfinite(rows[i].divergence) && rows[i].divergence > most ? rows[i].divergence : most;
    }
    return most;
}

static void append_cost(text *to, const spry_sensitivity_row *row, double most)
{
    if (row == NULL) {
        text_append_string(to, "<td></td>");
        return;
    }
    page_cell(to, "divergence", row->divergence);
    text_append_format(to, "%.2e", row->divergence);
    append_bar(to, "cost",
               row->divergence > 0.0 ? 1.0 + log10(row->divergence / most) / COST_DECADES : 0.0);
    text_append_string(to, "</td>");
}

static void append_layer(text *to, const quantize_result *r, const spry_quantize_row *row,
                         double most_error, double most_cost)
{
    char shown[UNITS_SIZE];

    text_append_string(to, "<tr data-layer=\"");
    page_escaped(to, row->node);
    text_append_string(to, "\"><td class=\"name\">");
    page_escaped(to, row->node);
    text_append_string(to, "</td>");
    page_number(to, "weights", (double)row->weights, units_count(shown, row->weights));
    append_bits(to, row->bits);
    page_decimal(to, "bits_per_weight", row->bits_per_weight, 2);
    if (isfinite(row->sqnr_db)) {
        page_cell(to, "sqnr_db", row->sqnr_db);
        text_append_format(to, "%.1f dB", row->sqnr_db);
        append_bar(to, "error", relative_error(row->sqnr_db) / most_error);
        text_append_string(to, "</td>");
    } else {
        text_append_string(to, "<td class=\"n\">exact</td>");
    }
    if (r->sensitivity != NULL) {
        append_cost(to, find_sensitivity(r->sensitivity, row->node), most_cost);
    }
    text_append_string(to, "<td>");
    quantize_page_plot(to, row->worst);
    text_append_string(to, "</td></tr>\n");
}

static void append_layers(text *to, const quantize_result *r)
{
    const spry_quantize_row *rows;
    int32_t count = spry_quantization_rows(r->facts, &rows);
    double most_cost = most_divergence(r->sensitivity);
    double most_error = 0.0;

    for (int32_t i = 0; i < count; i++) {
        double loss = relative_error(rows[i].sqnr_db);

        most_error = loss > most_error ? loss : most_error;
    }
    text_append_string(
        to, "<h2>Layers</h2>\n<p class=\"dim\">Bits per weight count steps and zero points. The "
            "bar below the ratio of signal to noise is the error, relative to the worst layer. "
            "The drawing shows the weights of the channel or group that suffers most, and below "
            "the axis the codes that stand for them.");
    if (r->sensitivity != NULL) {
        text_append_string(to, " Sensitivity is the divergence of the scores (KL, nats) when this "
                               "layer alone is quantized; its bar is logarithmic, four decades.");
    }
    text_append_string(to, "</p>\n<div class=\"scroll\"><table>\n<tr><th>layer</th><th class=\"n\">"
                           "weights</th><th class=\"n\">bits</th><th class=\"n\">per weight</th>"
                           "<th class=\"n\">signal to noise</th>");
    text_append_string(to, r->sensitivity != NULL ? "<th class=\"n\">sensitivity</th>" : "");
    text_append_string(to, "<th>worst weights on their grid</th></tr>\n");
    for (int32_t i = 0; i < count; i++) {
        append_layer(to, r, &rows[i], most_error, most_cost);
    }
    text_append_string(to, "</table></div>\n");
}

static void append_skipped(text *to, const quantize_result *r)
{
    const spry_quantize_skip *skips;
    int32_t count = spry_quantization_skipped(r->facts, &skips);

    if (count > 0) {
        text_append_string(to, "<h2>What stays f32</h2>\n<div class=\"scroll\"><table>\n");
        for (int32_t i = 0; i < count; i++) {
            text_append_string(to, "<tr><td class=\"name\">");
            page_escaped(to, skips[i].node);
            text_append_string(to, "</td><td class=\"dim\">");
            page_escaped(to, skips[i].reason);
            text_append_string(to, "</td></tr>\n");
        }
        text_append_string(to, "</table></div>\n");
    }
}

static void append_trials(text *to, const quantize_result *r)
{
    const spry_mixed_trial *trials;
    int32_t count = r->mixed != NULL ? spry_mixed_trials(r->mixed, &trials) : 0;

    if (count == 0) {
        return;
    }
    text_append_string(to, "<h2>Whole models tried</h2>\n<div class=\"scroll\"><table>\n<tr><th>"
                           "</th><th class=\"n\">f32</th><th class=\"n\">8 bits</th><th class=\"n\""
                           ">fewer</th><th class=\"n\">top-1 lost</th><th class=\"n\">ms a run"
                           "</th><th></th></tr>\n");
    for (int32_t i = 0; i < count; i++) {
        const spry_mixed_trial *t = &trials[i];

        text_append_format(to, "<tr data-trial=\"%" PRId32 "\"><td>%s</td>", i, t->what);
        for (int level = 0; level < SPRY_MIXED_LEVELS; level++) {
            text_append_format(to, "<td class=\"n\">%" PRId32 "</td>", t->count[level]);
        }
        if (isnan(t->drop)) {
            text_append_string(to, "<td></td>");
        } else {
            page_decimal(to, "drop", t->drop, 2);
        }
        if (t->ms > 0.0) {
            page_decimal(to, "ms", t->ms, 3);
        } else {
            text_append_string(to, "<td></td>");
        }
        text_append_format(to, "<td class=\"kept\">%s</td></tr>\n", t->is_kept ? "kept" : "");
    }
    text_append_string(to, "</table></div>\n");
}

/* ---- the page ---- */

spry_status quantize_report_html(const quantize_result *r, const char *path, spry_error *error)
{
    text page;
    spry_status status;

    text_init(&page, NULL, PAGE_MOST_BYTES);
    append_head(&page, r);
    append_tiles(&page, r);
    append_sides(&page, r);
    append_layers(&page, r);
    append_skipped(&page, r);
    append_trials(&page, r);
    status = page_write(&page, r->options->threads, path, error);
    text_fini(&page);
    return status;
}
