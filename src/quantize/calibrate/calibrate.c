/* Streaming ranges of all chosen activations, and ranges without samples. */
#include "quantize/calibrate/calibrate.h"

#include "base/alloc.h"
#include "quantize/calibrate/observe.h"
#include "quantize/calibrate/samples.h"
#include "tensor/tensor.h"

typedef struct calibrator {
    quantize_job *job;
    observe_range range;
    observer *observers; /* [count] */
    int32_t *values;     /* likewise: what is observed */
    int32_t *records;    /* likewise: of job->activations */
    int32_t count;
} calibrator;

static spry_status watch(void *context, const samples_view *view, spry_error *error)
{
    calibrator *c = context;

    (void)error;
    for (int32_t i = 0; i < c->count; i++) {
        observe(&c->observers[i], view->tensors[i]->data, tensor_count(view->tensors[i]));
    }
    return SPRY_OK;
}

/* Grids that batch norms give; other values that have a grid of their own are to be observed. */
static void use_norms(calibrator *c)
{
    quantize_job *job = c->job;

    for (int32_t i = 0; i < job->activation_count; i++) {
        activation_record *a = &job->activations[i];
        double low;
        double high;

        if (a->like == i && norm_ranges_find(&job->norms, a->value, &low, &high)) {
            a->grid = observe_grid_between(low, high, SPRY_DTYPE_U8, a->bits);
            job->facts->sources.batch_norms++;
        } else if (a->like == i) {
            c->values[c->count] = a->value;
            c->records[c->count++] = i;
        }
    }
}

static spry_status use_observers(calibrator *c, spry_error *error)
{
    quantize_job *job = c->job;
    const spry_allocator *a = &job->m->allocator;
    size_t bytes = (size_t)c->count * sizeof *c->observers;
    bool has_samples = job->options->calibration != NULL;
    spry_status status;

    c->observers = alloc_array(a, (size_t)c->count, sizeof *c->observers);
    if (c->observers == NULL) {
        return alloc_failed(error, bytes);
    }
    if (!has_samples) {
        c->range = OBSERVE_MINMAX; /* what is rare in noise need not be rare */
    }
    status = samples_visit(job->m, job->options, c->values, c->count,
                           has_samples ? "calibrating" : "observing noise", watch, c, error);
    for (int32_t i = 0; status == SPRY_OK && i < c->count; i++) {
        activation_record *record = &job->activations[c->records[i]];

        record->grid = observe_grid(&c->observers[i], c->range, SPRY_DTYPE_U8, record->bits);
    }
    *(has_samples ? &job->facts->sources.samples : &job->facts->sources.noise) = c->count;
    alloc_release(a, c->observers, bytes);
    return status;
}

spry_status calibrate(quantize_job *job, spry_error *error)
{
    size_t count = (size_t)job->activation_count;
    calibrator c = {.job = job};
    spry_status status = observe_range_find(job->options->range, &c.range, error);

    if (status != SPRY_OK || count == 0) {
        return status;
    }
    c.values = arena_array(job->memory, count, sizeof *c.values);
    c.records = arena_array(job->memory, count, sizeof *c.records);
    if (c.values == NULL || c.records == NULL) {
        return alloc_failed(error, count * sizeof *c.values);
    }
    if (job->norms.count > 0) {
        status = norm_ranges_spread(job->m->main, job->memory, &job->norms, error);
    }
    if (status == SPRY_OK) {
        use_norms(&c);
        status = c.count > 0 ? use_observers(&c, error) : SPRY_OK;
    }
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        activation_record *record = &job->activations[i];

        if (record->like != (int32_t)i) {
            record->grid = job->activations[record->like].grid;
            record->grid.bits = 0; /* its numbers are clamped where they come from */
        }
    }
    return status;
}
