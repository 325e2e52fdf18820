/* Streaming ranges of all chosen activations. */
#include "quantize/calibrate/calibrate.h"

#include "base/alloc.h"
#include "quantize/calibrate/observe.h"
#include "quantize/calibrate/samples.h"
#include "tensor/tensor.h"

typedef struct calibrator {
    observer *observers;
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

spry_status calibrate(quantize_job *job, spry_error *error)
{
    const spry_allocator *a = &job->m->allocator;
    size_t count = (size_t)job->activation_count;
    calibrator c = {NULL, job->activation_count};
    int32_t *values;
    observe_range range;
    spry_status status = observe_range_find(job->options->range, &range, error);

    if (status != SPRY_OK || count == 0) {
        return status;
    }
    values = arena_array(job->memory, count, sizeof *values);
    c.observers = alloc_array(a, count, sizeof *c.observers);
    if (values == NULL || c.observers == NULL) {
        alloc_release(a, c.observers, count * sizeof *c.observers);
        return alloc_failed(error, count * sizeof *c.observers);
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = job->activations[i].value;
    }
    status = samples_visit(job->m, job->options, values, c.count, "calibrating", watch, &c, error);
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        activation_record *record = &job->activations[i];

        record->grid = observe_grid(&c.observers[record->like], range, SPRY_DTYPE_U8,
                                    job->activations[record->like].bits);
        if (record->like != (int32_t)i) {
            record->grid.bits = 0; /* its numbers are clamped where they come from */
        }
    }
    alloc_release(a, c.observers, count * sizeof *c.observers);
    return status;
}
