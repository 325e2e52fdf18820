/* Every layer quantized alone, on the same samples. */
#include "quantize/calibrate/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "model/pass.h"
#include "quantize/calibrate/samples.h"
#include "quantize/choose.h"
#include "quantize/format/format.h"

enum { LABEL_SIZE = 512 };

struct spry_sensitivity {
    spry_allocator allocator;
    arena memory;
    spry_sensitivity_row *rows;
    int32_t *nodes; /* of the rows */
    int32_t count;
    double float_top1;
};

/* ---- rows of scores ---- */

static bool is_distribution(const float *scores, int64_t count)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        if (!(scores[i] >= 0.0f)) {
            return false;
        }
        sum += (double)scores[i];
    }
    return fabs(sum - 1.0) < 1e-3;
}

int64_t sensitivity_best(const float *scores, int64_t count)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

/* Logarithm of what the exponentials of all scores sum to. */
static double log_sum(const float *scores, int64_t count)
{
    double most = (double)scores[sensitivity_best(scores, count)];
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        sum += exp((double)scores[i] - most);
    }
    return most + log(sum);
}

double sensitivity_divergence(const float *p, const float *q, int64_t count)
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

/* ---- samples through one model ---- */

typedef struct runner {
    const quantize_job *job;
    int64_t class_offset;
    int64_t width;    /* elements of the output per sample; 0 before the first run */
    float *reference; /* [samples][width]: of the float model */
    int64_t samples;
    bool has_scores;
    int64_t seen, same, right;
    double divergence, signal, noise;
} runner;

/* Rows of several numbers, one per sample. */
static bool holds_scores(const tensor *t, int64_t width)
{
    return width >= 2 && (t->rank == 2 || (t->rank > 2 && t->shape[1] == width));
}

static spry_status make_reference(runner *r, const samples_view *view, spry_error *error)
{
    const tensor *t = view->tensors[0];
    size_t bytes;

    if (t->dtype != SPRY_DTYPE_F32 || tensor_count(t) % view->count != 0 || tensor_count(t) == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, "sensitivity", NULL,
                         "the model's first output is no f32 tensor with a part per sample");
    }
    r->width = tensor_count(t) / view->count;
    r->has_scores = holds_scores(t, r->width);
    bytes = (size_t)r->samples * (size_t)r->width * sizeof *r->reference;
    r->reference = alloc_bytes(&r->job->m->allocator, bytes);
    return r->reference != NULL ? SPRY_OK : alloc_failed(error, bytes);
}

static bool is_right(const runner *r, int64_t sample, int64_t best)
{
    return spry_dataset_label(r->job->options->calibration, sample) + r->class_offset == best;
}

static spry_status keep(void *context, const samples_view *view, spry_error *error)
{
    runner *r = context;
    spry_status status = r->reference == NULL ? make_reference(r, view, error) : SPRY_OK;

    for (int64_t i = 0; status == SPRY_OK && i < view->count; i++) {
        int64_t sample = view->first + i;
        const float *scores = (const float *)view->tensors[0]->data + i * r->width;

        if (sample < r->seen) { /* the last batch is filled up */
            continue;
        }
        memcpy(r->reference + sample * r->width, scores, (size_t)r->width * sizeof *scores);
        r->seen++;
        r->right += is_right(r, sample, sensitivity_best(scores, r->width));
    }
    return status;
}

static spry_status compare(void *context, const samples_view *view, spry_error *error)
{
    runner *r = context;

    (void)error;
    for (int64_t i = 0; i < view->count; i++) {
        int64_t sample = view->first + i;
        const float *x = r->reference + sample * r->width;
        const float *y = (const float *)view->tensors[0]->data + i * r->width;

        if (sample < r->seen) {
            continue;
        }
        for (int64_t k = 0; k < r->width; k++) {
            double d = (double)y[k] - (double)x[k];

            r->signal += (double)x[k] * (double)x[k];
            r->noise += d * d;
        }
        if (r->has_scores) {
            int64_t best = sensitivity_best(y, r->width);

            r->divergence += sensitivity_divergence(x, y, r->width);
            r->same += best == sensitivity_best(x, r->width);
            r->right += is_right(r, sample, best);
        }
        r->seen++;
    }
    return SPRY_OK;
}

static spry_status run(runner *r, const model *m, samples_visitor visitor, spry_error *error)
{
    spry_quantize_options silent = *r->job->options;

    silent.progress = NULL; /* told layer by layer */
    r->seen = 0;
    r->same = 0;
    r->right = 0;
    r->divergence = 0.0;
    r->signal = 0.0;
    r->noise = 0.0;
    return samples_visit(m, &silent, &m->main->outputs[0], 1, "", visitor, r, error);
}

/* ---- one layer ---- */

static bool is_read(const graph_node *n, int32_t inputs, int32_t value_id)
{
    for (int32_t i = 0; i < inputs; i++) {
        if (n->inputs[i] == value_id) {
            return true;
        }
    }
    return false;
}

/* A job that has decided about one layer only. */
static spry_status narrow(const quantize_job *all, int32_t node, quantize_job *one,
                          spry_error *error)
{
    const graph_node *n = &all->m->main->nodes[node];
    size_t count = (size_t)all->activation_count + 1;
    weight_record *record = all->record_of[node];

    *one = *all;
    one->m = NULL;
    spry_status status = model_copy(all->m, &one->m, error);
    if (status != SPRY_OK) {
        return status;
    }
    one->memory = &one->m->memory;
    one->weights = record;
    one->weight_count = record != NULL;
    one->activations = arena_array(one->memory, count, sizeof *one->activations);
    one->activation_count = 0;
    if (one->activations == NULL) {
        return alloc_failed(error, count * sizeof *one->activations);
    }
    for (int32_t i = 0; i < all->activation_count; i++) {
        if (is_read(n, record != NULL ? 1 : 2, all->activations[i].value)) {
            one->activations[one->activation_count] = all->activations[i];
            one->activations[one->activation_count].like = one->activation_count;
            one->activation_count++;
        }
    }
    return SPRY_OK;
}

static spry_status measure_row(runner *r, spry_sensitivity *s, int32_t row, spry_error *error)
{
    spry_sensitivity_row *to = &s->rows[row];
    quantize_job one;
    spry_status status = narrow(r->job, s->nodes[row], &one, error);

    if (status == SPRY_OK) {
        status = job_write(&one, error);
    }
    if (status == SPRY_OK) {
        status = run(r, one.m, compare, error);
    }
    spry_model_destroy(one.m);
    if (status == SPRY_OK) {
        double count = (double)r->samples;
        double loss = r->signal > 0.0 ? r->noise / r->signal : r->noise;

        to->sqnr_db = r->noise > 0.0 ? 10.0 * log10(r->signal / r->noise) : INFINITY;
        to->divergence = r->has_scores ? r->divergence / count : loss;
        to->agreement = r->has_scores ? (double)r->same / count : -1.0;
        to->top1 = r->has_scores ? (double)r->right / count : -1.0;
    }
    return status;
}

/* ---- all layers ---- */

static bool has_record(const quantize_job *job, int32_t value_id)
{
    for (int32_t i = 0; i < job->activation_count; i++) {
        if (job->activations[i].value == value_id) {
            return true;
        }
    }
    return false;
}

static bool is_product(const quantize_job *job, int32_t node)
{
    const graph_node *n = &job->m->main->nodes[node];

    return graph_node_is(n, "MatMul") && has_record(job, n->inputs[0]) &&
           has_record(job, n->inputs[1]);
}

static spry_status add_row(spry_sensitivity *s, const quantize_job *job, int32_t node,
                           spry_error *error)
{
    const graph *g = job->m->main;
    const weight_record *record = job->record_of[node];
    spry_sensitivity_row *row = &s->rows[s->count];
    char label[LABEL_SIZE];

    (void)graph_node_label(g, &g->nodes[node], label, sizeof label);
    *row = (spry_sensitivity_row){
        .node = arena_text(&s->memory, label, strlen(label)),
        .name = arena_text(&s->memory, g->nodes[node].name, strlen(g->nodes[node].name)),
        .weights = record != NULL ? weight_count(&record->w) : 0,
        .weight_bits = record != NULL ? record->bits : 0,
        .bits_per_weight = record != NULL ? record_bits_per_weight(record) : 0.0};
    for (int32_t i = 0; record != NULL && i < job->facts->row_count; i++) {
        if (&job->weights[i] == record) {
            row->macs = job->facts->rows[i].macs;
        }
    }
    s->nodes[s->count++] = node;
    return row->node != NULL && row->name != NULL ? SPRY_OK : alloc_failed(error, sizeof label);
}

static spry_status list_layers(spry_sensitivity *s, const quantize_job *job, spry_error *error)
{
    size_t nodes = (size_t)job->node_count + 1;
    spry_status status = SPRY_OK;

    s->rows = arena_array(&s->memory, nodes, sizeof *s->rows);
    s->nodes = arena_array(&s->memory, nodes, sizeof *s->nodes);
    if (s->rows == NULL || s->nodes == NULL) {
        return alloc_failed(error, nodes * sizeof *s->rows);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->node_count; i++) {
        if (!job->m->main->nodes[i].removed && (job->is_integer[i] || is_product(job, i))) {
            status = add_row(s, job, i, error);
        }
    }
    return status;
}

static spry_status measure_all(spry_sensitivity *s, runner *r, spry_error *error)
{
    const spry_progress *progress = r->job->options->progress;
    samples open;
    char task[LABEL_SIZE + 16];
    spry_status status = samples_open(r->job->m, r->job->options, &open, error);

    if (status == SPRY_OK) {
        r->samples = open.count;
        status = run(r, r->job->m, keep, error);
    }
    if (status == SPRY_OK) {
        s->float_top1 = r->has_scores ? (double)r->right / (double)r->samples : -1.0;
        status = list_layers(s, r->job, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < s->count; i++) {
        (void)snprintf(task, sizeof task, "alone: %s", s->rows[i].node);
        status = progress_report(progress, task, i, s->count, error);
        if (status == SPRY_OK) {
            status = measure_row(r, s, i, error);
        }
    }
    return status;
}

spry_status spry_sensitivity_measure(const spry_model *source, const spry_quantize_options *options,
                                     int64_t class_offset, spry_sensitivity **sensitivity,
                                     spry_error *error)
{
    quantize_job job = {0};
    runner r = {.job = &job, .class_offset = class_offset};
    spry_sensitivity *s = NULL;
    spry_status status;

    *sensitivity = NULL;
    if (options->calibration == NULL) {
        return spry_fail(error, SPRY_USAGE, "sensitivity",
                         "for example --calibrate cifar10:train.bin",
                         "it is measured on samples; none are given");
    }
    status = job_open(&job, source, options, error);
    if (status == SPRY_OK) {
        status = job_decide(&job, error);
    }
    if (status == SPRY_OK) {
        s = alloc_zeroed(&source->allocator, sizeof *s);
        status = s != NULL ? SPRY_OK : alloc_failed(error, sizeof *s);
    }
    if (status == SPRY_OK) {
        s->allocator = source->allocator;
        arena_init(&s->memory, &s->allocator, SIZE_MAX);
        status = measure_all(s, &r, error);
    }
    if (r.reference != NULL) {
        alloc_release(&source->allocator, r.reference,
                      (size_t)r.samples * (size_t)r.width * sizeof *r.reference);
    }
    job_close(&job);
    if (status != SPRY_OK) {
        spry_sensitivity_destroy(s);
        return status;
    }
    *sensitivity = s;
    return SPRY_OK;
}

void spry_sensitivity_destroy(spry_sensitivity *sensitivity)
{
    if (sensitivity != NULL) {
        spry_allocator allocator = sensitivity->allocator;

        arena_fini(&sensitivity->memory);
        alloc_release(&allocator, sensitivity, sizeof *sensitivity);
    }
}

int32_t spry_sensitivity_rows(const spry_sensitivity *sensitivity,
                              const spry_sensitivity_row **rows)
{
    *rows = sensitivity->rows;
    return sensitivity->count;
}

double spry_sensitivity_float_top1(const spry_sensitivity *sensitivity)
{
    return sensitivity->float_top1;
}
