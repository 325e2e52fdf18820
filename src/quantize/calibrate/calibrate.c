/* Streaming ranges of all chosen activations, and ranges without samples. */
#include "quantize/calibrate/calibrate.h"

#include "base/alloc.h"
#include "quantize/calibrate/observe.h"
#include "quantize/calibrate/samples.h"
#include "quantize/calibrate/synthetic.h"
#include "tensor/tensor.h"

typedef struct calibrator {
    quantize_job *job;
    observe_range range;
    observer *observers; /* [count] */
    int32_t *values;     /* likewise: what is observed */
    int32_t *records;    /* likewise: of job->activations */
    int32_t count;
    const samples_view *view;
} calibrator;

static void observe_some(void *context, int64_t begin, int64_t end, int worker)
{
    const calibrator *c = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        observe(&c->observers[i], c->view->tensors[i]->data, tensor_count(c->view->tensors[i]));
    }
}

static spry_status watch(void *context, const samples_view *view, spry_error *error)
{
    calibrator *c = context;

    (void)error;
    c->view = view;
    threads_for(c->job->team, c->count, 1, observe_some, c);
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

/* Ranges of what was observed; of noise with what it leaves out. */
static spry_status make_grids(const calibrator *c, bool is_noise, spry_error *error)
{
    quantize_job *job = c->job;
    double *reach = NULL;
    spry_status status =
        is_noise ? synthetic_reach(job->m->main, job->memory, &reach, error) : SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < c->count; i++) {
        activation_record *record = &job->activations[c->records[i]];
        const observer *o = &c->observers[i];

        if (is_noise) {
            double factor = reach[c->values[i]];

            record->grid = observe_grid_between(factor * (double)o->low, factor * (double)o->high,
                                                SPRY_DTYPE_U8, record->bits);
        } else {
            record->grid = observe_grid(o, c->range, SPRY_DTYPE_U8, record->bits);
        }
    }
    return status;
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
    status = samples_visit(job->m, job->options, c->values, c->count,
                           has_samples ? "calibrating" : "observing noise", watch, c, error);
    if (status == SPRY_OK) {
        status = make_grids(c, !has_samples, error);
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
