/* Answers on samples, kept and compared. */
#include "quantize/calibrate/scores.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/calibrate/samples.h"

/* ---- rows of scores ---- */

static bool is_distribution(const float *row, int64_t count)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        if (!(row[i] >= 0.0f)) {
            return false;
        }
        sum += (double)row[i];
    }
    return fabs(sum - 1.0) < 1e-3;
}

int64_t scores_best(const float *row, int64_t count)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

/* Logarithm of what the exponentials of all scores sum to. */
static double log_sum(const float *row, int64_t count)
{
    double most = (double)row[scores_best(row, count)];
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        sum += exp((double)row[i] - most);
    }
    return most + log(sum);
}

double scores_divergence(const float *p, const float *q, int64_t count)
{
    bool as_is = is_distribution(p, count);
    double sum_p = as_is ? 0.0 : log_sum(p, count);
    double sum_q = as_is ? 0.0 : log_sum(q, count);
    double divergence = 0.0;

    for (int64_t i = 0; i < count; i++) {
        double log_p = as_is ? log((double)p[i]) : (double)p[i] - sum_p;
        double log_q = as_is ? log((double)q[i]) : (double)q[i] - sum_q;
        double chance = as_is ? (double)p[i] : exp(log_p);

        divergence += chance > 0.0 ? chance * (log_p - log_q) : 0.0;
    }
    return isnan(divergence) ? INFINITY : divergence > 0.0 ? divergence : 0.0;
}

/* ---- samples through a model ---- */

/* Rows of several numbers, one per sample. */
static bool holds_scores(const tensor *t, int64_t width)
{
    return width >= 2 && (t->rank == 2 || (t->rank > 2 && t->shape[1] == width));
}

static size_t reference_bytes(const scores *s)
{
    return (size_t)s->samples * (size_t)s->width * sizeof *s->reference;
}

static spry_status make_reference(scores *s, const samples_view *view, spry_error *error)
{
    const tensor *t = view->tensors[0];

    if (t->dtype != SPRY_DTYPE_F32 || tensor_count(t) % view->count != 0 || tensor_count(t) == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, "scores", NULL,
                         "the model's first output is no f32 tensor with a part per sample");
    }
    s->width = tensor_count(t) / view->count;
    s->has_scores = holds_scores(t, s->width);
    s->reference = alloc_bytes(&s->allocator, reference_bytes(s));
    s->errors = alloc_array(&s->allocator, (size_t)s->samples, sizeof *s->errors);
    return s->reference != NULL && s->errors != NULL ? SPRY_OK
                                                     : alloc_failed(error, reference_bytes(s));
}

static bool is_right(const scores *s, int64_t sample, int64_t best)
{
    return s->options.calibration != NULL && /* noise has no labels */
           spry_dataset_label(s->options.calibration, sample) + s->class_offset == best;
}

static spry_status keep(void *context, const samples_view *view, spry_error *error)
{
    scores *s = context;
    spry_status status = s->reference == NULL ? make_reference(s, view, error) : SPRY_OK;

    for (int64_t i = 0; status == SPRY_OK && i < view->count; i++) {
        int64_t sample = view->first + i;
        const float *row = (const float *)view->tensors[0]->data + i * s->width;

        if (sample < s->seen) { /* the last batch is filled up */
            continue;
        }
        memcpy(s->reference + sample * s->width, row, (size_t)s->width * sizeof *row);
        s->seen++;
        s->right += is_right(s, sample, scores_best(row, s->width));
    }
    return status;
}

static void compare_rows(scores *s, const float *x, const float *y, double *error)
{
    double sum = 0.0;
    double squares = 0.0;

    for (int64_t k = 0; k < s->width; k++) {
        double d = (double)y[k] - (double)x[k];

        s->signal += (double)x[k] * (double)x[k];
        squares += d * d;
        sum += d;
    }
    s->noise += squares;
    *error = s->has_scores ? fmax(squares - sum * sum / (double)s->width, 0.0) : squares;
}

static spry_status compare(void *context, const samples_view *view, spry_error *error)
{
    scores *s = context;

    (void)error;
    for (int64_t i = 0; i < view->count; i++) {
        int64_t sample = view->first + i;
        const float *x = s->reference + sample * s->width;
        const float *y = (const float *)view->tensors[0]->data + i * s->width;

        if (sample < s->seen) {
            continue;
        }
        compare_rows(s, x, y, &s->errors[sample]);
        if (s->has_scores) {
            int64_t best = scores_best(y, s->width);

            s->divergence += scores_divergence(x, y, s->width);
            s->same += best == scores_best(x, s->width);
            s->right += is_right(s, sample, best);
        }
        s->seen++;
    }
    return SPRY_OK;
}

static spry_status run(scores *s, const model *m, samples_visitor visitor, spry_error *error)
{
    s->seen = 0;
    s->same = 0;
    s->right = 0;
    s->divergence = 0.0;
    s->signal = 0.0;
    s->noise = 0.0;
    return samples_visit(m, &s->options, &m->main->outputs[0], 1, "", visitor, s, error);
}

spry_status scores_open(scores *s, const model *m, const spry_quantize_options *options,
                        int64_t most, int64_t class_offset, spry_error *error)
{
    bool is_part = most > 0;
    samples open;
    spry_status status;

    *s = (scores){.allocator = m->allocator, .options = *options, .class_offset = class_offset};
    s->options.progress = NULL; /* told model by model */
    status = samples_open(m, options, &open, error);
    if (status == SPRY_OK) {
        most = most > open.batch ? most : open.batch; /* which may be the model's own */
        s->samples = is_part && most < open.count ? most : open.count;
        s->options.samples = s->samples;
        status = run(s, m, keep, error);
    }
    return status;
}

void scores_release(scores *s)
{
    if (s->reference != NULL) {
        alloc_release(&s->allocator, s->reference, reference_bytes(s));
        s->reference = NULL;
    }
    if (s->errors != NULL) {
        alloc_release(&s->allocator, s->errors, (size_t)s->samples * sizeof *s->errors);
        s->errors = NULL;
    }
}

spry_status scores_compare(scores *s, const model *m, spry_error *error)
{
    return run(s, m, compare, error);
}

double scores_loss(const scores *s)
{
    double loss = s->signal > 0.0 ? s->noise / s->signal : s->noise;

    return s->has_scores ? s->divergence / (double)s->samples : loss;
}
