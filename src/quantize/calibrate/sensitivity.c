/* Every layer quantized alone, on the same samples. */
#include "spry/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "model/pass.h"
#include "quantize/calibrate/scores.h"
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

static spry_status measure_row(const quantize_job *job, scores *r, spry_sensitivity *s, int32_t row,
                               spry_error *error)
{
    spry_sensitivity_row *to = &s->rows[row];
    quantize_job one;
    spry_status status = narrow(job, s->nodes[row], &one, error);

    if (status == SPRY_OK) {
        status = job_write(&one, error);
    }
    if (status == SPRY_OK) {
        status = scores_compare(r, one.m, error);
    }
    spry_model_destroy(one.m);
    if (status == SPRY_OK) {
        double count = (double)r->samples;

        to->sqnr_db = r->noise > 0.0 ? 10.0 * log10(r->signal / r->noise) : INFINITY;
        to->divergence = scores_loss(r);
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

static spry_status measure_all(spry_sensitivity *s, const quantize_job *job, scores *r,
                               int64_t class_offset, spry_error *error)
{
    char task[LABEL_SIZE + 16];
    spry_status status = scores_open(r, job->m, job->options, 0, class_offset, error);

    if (status == SPRY_OK) {
        s->float_top1 = r->has_scores ? (double)r->right / (double)r->samples : -1.0;
        status = list_layers(s, job, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < s->count; i++) {
        (void)snprintf(task, sizeof task, "alone: %s", s->rows[i].node);
        status = progress_report(job->options->progress, task, i, s->count, error);
        if (status == SPRY_OK) {
            status = measure_row(job, r, s, i, error);
        }
    }
    return status;
}

spry_status spry_sensitivity_measure(const spry_model *source, const spry_quantize_options *options,
                                     int64_t class_offset, spry_sensitivity **sensitivity,
                                     spry_error *error)
{
    quantize_job job = {0};
    scores r = {.samples = 0};
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
        status = measure_all(s, &job, &r, class_offset, error);
    }
    scores_release(&r);
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
