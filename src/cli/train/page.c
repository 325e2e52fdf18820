/* What came of training, as a page that opens without a network. All that comes from the model, the
 * data and the command line is escaped; cells carry their number as the JSON report has it. */
#include "cli/train/page.h"

#include <inttypes.h>
#include <math.h>

#include "base/alloc.h"
#include "base/units.h"
#include "cli/output.h"
#include "cli/page.h"

enum { SMOOTHED = 25 }; /* the smoothed loss is the mean of 1 / SMOOTHED of all steps */

typedef struct page_state {
    const train_outcome *o;
    const spry_training_totals *totals;
    text page;
    arena memory;
} page_state;

/* ---- head and totals ---- */

static void append_head(page_state *p)
{
    text *to = &p->page;

    page_begin(to, p->o->model, "trained", train_page_css);
    text_append_string(to, "<h1>");
    page_escaped(to, p->o->model);
    text_append_string(to, "</h1>\n<p class=\"dim\">trained on ");
    page_escaped(to, cli_text(p->o->setup->call, "data"));
    if (p->o->output != NULL) {
        text_append_string(to, ", in ");
        page_escaped(to, p->o->output);
    }
    text_append_format(to, ", %" PRId64 " steps, %.1f s%s</p>\n", p->totals->steps,
                       p->totals->seconds, p->totals->is_stopped ? ", stopped early" : "");
}

static void append_private_tile(page_state *p)
{
    const spry_train_options *o = &p->o->setup->options;
    char number[64];
    char detail[128];

    if (p->totals->noise > 0) {
        (void)snprintf(number, sizeof number, "&epsilon; %.3f", p->totals->epsilon);
        (void)snprintf(detail, sizeof detail, "at &delta; %g, noise %.4f, clip %g%s",
                       o->private_delta, p->totals->noise, o->private_clip,
                       o->private_seeded ? "; on paper only: the noise is seeded" : "");
        page_tile(&p->page, "Privacy spent", number, detail);
    }
}

static void append_tiles(page_state *p)
{
    const spry_training_totals *t = p->totals;
    text *to = &p->page;
    char number[64];
    char detail[128];
    char shown[2][UNITS_SIZE];
    const float *losses = NULL;

    text_append_string(to, "<div class=\"tiles\">\n");
    if (spry_training_losses(p->o->facts, &losses) > 0) {
        (void)snprintf(number, sizeof number, "%.4f", t->loss);
        page_tile(to, "Loss", number, "mean of the last epoch");
    } else { /* resumed where it had ended */
        page_tile(to, "Loss", "&ndash;", "nothing was left to train");
    }
    if (t->best >= 0) {
        (void)snprintf(number, sizeof number, "%.2f %%", 100.0 * t->best);
        (void)snprintf(detail, sizeof detail, "in epoch %" PRId64, t->best_epoch + 1);
        page_tile(to, "Best validation", number, detail);
    }
    (void)snprintf(number, sizeof number, "%.1f", t->samples_per_second);
    (void)snprintf(detail, sizeof detail, "%.1f s in all", t->seconds);
    page_tile(to, "Samples per second", number, detail);
    (void)snprintf(detail, sizeof detail, "of %s (%.2f %%)", units_count(shown[0], t->parameters),
                   t->parameters > 0 ? 100.0 * (double)t->trained / (double)t->parameters : 0.0);
    page_tile(to, "Parameters trained", units_count(shown[1], t->trained), detail);
    (void)snprintf(detail, sizeof detail, "%s for a step, %s of weights and state",
                   units_bytes(shown[0], (int64_t)t->arena_bytes),
                   units_bytes(shown[1], (int64_t)t->weight_bytes));
    page_tile(to, "Memory", units_bytes(number, (int64_t)t->arena_bytes + (int64_t)t->weight_bytes),
              detail);
    append_private_tile(p);
    text_append_string(to, "</div>\n");
}

/* ---- curves ---- */

/* Room for `lines` curves of `count` points; NULL when memory runs out. */
static double *take_curves(page_state *p, int32_t lines, int32_t count)
{
    return arena_array(&p->memory, (size_t)lines * (size_t)count + 1, sizeof(double));
}

static int32_t points_of(int64_t count)
{
    return count < TRAIN_PAGE_POINTS ? (int32_t)count : TRAIN_PAGE_POINTS;
}

/* Which of `count` rows is point `i` of `points`: the first and the last are among them. */
static int64_t row_of(int32_t i, int32_t points, int64_t count)
{
    return points > 1 ? (int64_t)((double)i * (double)(count - 1) / (points - 1) + 0.5) : 0;
}

static bool append_losses(page_state *p)
{
    const float *losses = NULL;
    int64_t count = spry_training_losses(p->o->facts, &losses);
    int32_t points = points_of(count);
    int64_t reach = count / (2 * SMOOTHED) + 1;
    double *x = take_curves(p, 3, points);
    double sum = 0.0;
    int64_t begin = 0; /* `sum` is of [begin, end) */
    int64_t end = 0;

    if (x == NULL) {
        return false;
    }
    double *y = x + points;
    double *smooth = y + points;
    for (int32_t i = 0; i < points; i++) {
        int64_t row = row_of(i, points, count);

        for (; end < count && end <= row + reach; end++) {
            sum += (double)losses[end];
        }
        for (; begin < row - reach; begin++) {
            sum -= (double)losses[begin];
        }
        x[i] = (double)(p->totals->steps - count + 1 + row);
        y[i] = (double)losses[row];
        smooth[i] = sum / (double)(end - begin);
    }
    const train_line lines[] = {{"batches", "raw", x, y, points},
                                {"smoothed", "train", x, smooth, points}};
    train_page_plot(&p->page, "Loss", "step", lines, 2);
    return true;
}

static bool append_accuracies(page_state *p)
{
    const spry_train_epoch *rows = NULL;
    int64_t count = spry_training_epochs(p->o->facts, &rows);
    int32_t points = points_of(count);
    double *x = take_curves(p, 3, points);
    bool validates = false;

    if (x == NULL) {
        return false;
    }
    double *learnt = x + points;
    double *valid = learnt + points;
    for (int32_t i = 0; i < points; i++) {
        const spry_train_epoch *row = &rows[row_of(i, points, count)];

        x[i] = (double)row->epoch;
        learnt[i] = 100.0 * row->accuracy;
        valid[i] = row->validation >= 0 ? 100.0 * row->validation : (double)NAN;
        validates = validates || row->validation >= 0;
    }
    const train_line lines[] = {{"training", "train", x, learnt, points},
                                {"validation", "valid", x, valid, points}};
    if (count > 0) {
        train_page_plot(&p->page, "Accuracy, %", "epoch", lines, validates ? 2 : 1);
    }
    return true;
}

static bool append_curves(page_state *p)
{
    const train_curve *rates = &p->o->rates;
    const train_line rate = {"rate", "rate", rates->steps, rates->values, rates->count};
    bool works;

    text_append_string(&p->page, "<div class=\"curves\">\n");
    works = append_losses(p) && append_accuracies(p);
    train_page_plot(&p->page, "Learning rate", "step", &rate, 1);
    text_append_string(&p->page, "</div>\n");
    return works;
}

/* ---- epochs ---- */

static void append_epoch(text *to, const spry_train_epoch *row, bool validates, bool is_best)
{
    char shown[64];

    text_append_format(to, "<tr data-epoch=\"%" PRId64 "\"%s><td class=\"n\">%" PRId64 "</td>",
                       row->epoch, is_best ? " class=\"best\"" : "", row->epoch);
    page_decimal(to, "step", (double)row->step, 0);
    page_decimal(to, "loss", row->loss, 4);
    (void)snprintf(shown, sizeof shown, "%.2f", 100.0 * row->accuracy);
    page_number(to, "accuracy", row->accuracy, shown);
    if (validates && row->validation >= 0) {
        (void)snprintf(shown, sizeof shown, "%.2f", 100.0 * row->validation);
        page_number(to, "validation", row->validation, shown);
        page_decimal(to, "validation_loss", row->validation_loss, 4);
    } else if (validates) {
        text_append_string(to, "<td></td><td></td>");
    }
    (void)snprintf(shown, sizeof shown, "%.3g", row->rate);
    page_number(to, "rate", row->rate, shown);
    page_decimal(to, "seconds", row->seconds, 1);
    text_append_string(to, "</tr>\n");
}

static void append_epochs(page_state *p)
{
    const spry_train_epoch *rows = NULL;
    int64_t count = spry_training_epochs(p->o->facts, &rows);
    bool validates = p->o->setup->options.validation != NULL;
    text *to = &p->page;

    text_append_string(to, "<h2>Epochs</h2>\n<div class=\"scroll tall\"><table>\n<tr><th "
                           "class=\"n\">epoch</th><th class=\"n\">step</th><th class=\"n\">loss"
                           "</th><th class=\"n\">training %</th>");
    text_append_string(to, validates ? "<th class=\"n\">validation %</th><th class=\"n\">"
                                       "validation loss</th>"
                                     : "");
    text_append_string(to, "<th class=\"n\">rate</th><th class=\"n\">s</th></tr>\n");
    for (int64_t i = 0; i < count; i++) {
        append_epoch(to, &rows[i], validates,
                     p->totals->best >= 0 && rows[i].epoch == p->totals->best_epoch + 1);
    }
    text_append_string(to, "</table></div>\n");
}

/* ---- confusions ---- */

/* The trained model on the validation data. */
static spry_status measure(const train_outcome *o, spry_evaluation **result, spry_error *error)
{
    const spry_train_options *trained = &o->setup->options;
    spry_session_options how = spry_session_options_default();
    spry_evaluate_options asked = spry_evaluate_options_default();
    spry_session *session = NULL;
    spry_status status;

    how.threads = trained->threads;
    how.precision = trained->precision;
    asked.recipe = trained->recipe;
    asked.keep_scores = true;
    status = spry_session_create(o->trained, &how, &session, error);
    if (status == SPRY_OK) {
        status = spry_evaluate(o->trained, session, trained->validation, &asked, result, error);
    }
    spry_session_destroy(session);
    return status;
}

static spry_status append_confusions(page_state *p, spry_error *error)
{
    const train_outcome *o = p->o;
    spry_evaluation *result = NULL;
    spry_error why;
    spry_status status = SPRY_OK;

    if (o->setup->options.validation == NULL) {
        return SPRY_OK;
    }
    if (measure(o, &result, &why) == SPRY_OK) {
        status = train_page_confusions(&p->page, result, o->setup->options.validation, &p->memory,
                                       error);
    } else { /* what was learnt is worth a page all the same */
        output_warn(o->setup->call, "the page has no confusions: %s", why.what);
        text_append_string(&p->page, "<h2>Confusions</h2>\n<p class=\"dim\">not measured: ");
        page_escaped(&p->page, why.what);
        text_append_string(&p->page, "</p>\n");
    }
    spry_evaluation_destroy(result);
    return status;
}

/* ---- options ---- */

static void append_option(text *to, const char *name, const char *value)
{
    text_append_format(to, "<tr data-option=\"%s\"><td>--%s</td><td class=\"name\">", name, name);
    page_escaped(to, value);
    text_append_string(to, "</td></tr>\n");
}

/* All that was given, --config counted; then what else held. */
static void append_options(page_state *p)
{
    const cli_call *call = p->o->setup->call;
    text *to = &p->page;
    char number[64];

    text_append_string(to, "<h2>Options</h2>\n<div class=\"scroll\"><table>\n");
    for (int i = 0; i < call->value_count; i++) {
        const cli_option *option = cli_option_at(call->command, call->value_options[i]);

        append_option(to, option->name, option->kind == CLI_FLAG ? "" : call->values[i]);
    }
    text_append_string(to, "</table></div>\n<details><summary>Defaults that held</summary>\n<div "
                           "class=\"scroll\"><table>\n");
    for (const cli_option *option = train_option_table; option->name != NULL; option++) {
        if (!cli_given(call, option->name) && option->fallback != NULL) {
            append_option(to, option->name, option->fallback);
        }
    }
    if (!cli_given(call, "lr")) {
        (void)snprintf(number, sizeof number, "%g", p->o->setup->options.rate);
        append_option(to, "lr", number);
    }
    if (!cli_given(call, "weight-decay")) {
        (void)snprintf(number, sizeof number, "%g", p->o->setup->options.decay);
        append_option(to, "weight-decay", number);
    }
    text_append_string(to, "</table></div></details>\n");
}

/* ---- the page ---- */

spry_status train_page_write(const train_outcome *o, const char *path, spry_error *error)
{
    page_state p = {.o = o, .totals = spry_training_totals_of(o->facts)};
    spry_status status;

    text_init(&p.page, NULL, PAGE_MOST_BYTES);
    arena_init(&p.memory, NULL, SIZE_MAX);
    append_head(&p);
    append_tiles(&p);
    status = append_curves(&p) ? SPRY_OK : alloc_failed(error, TRAIN_PAGE_POINTS * sizeof(double));
    append_epochs(&p);
    if (status == SPRY_OK) {
        status = append_confusions(&p, error);
    }
    append_options(&p);
    if (status == SPRY_OK) {
        status = page_write(&p.page, o->setup->options.threads, path, error);
    }
    text_fini(&p.page);
    arena_fini(&p.memory);
    return status;
}
