/* Calibration samples, batch by batch, through a model. Memory does not depend on their number. */
#ifndef QUANTIZE_SAMPLES_H
#define QUANTIZE_SAMPLES_H

#include "model/model.h"
#include "spry/quantize.h"
#include "spry/value.h"

/* The samples that options name, noise (synthetic.h) where they name none, cut into batches that
 * fit the one input of `m`. */
typedef struct samples {
    const spry_quantize_options *options;
    spry_port input;
    spry_preprocess recipe;
    int64_t count; /* samples in all */
    int64_t batch; /* of each batch; the last is filled up with samples seen before */
} samples;

/* Fails with SPRY_USAGE (several inputs, a fixed batch larger than the set), SPRY_UNSUPPORTED (an
 * input that is no f32 tensor of known rank). */
SPRY_MUST_USE spry_status samples_open(const model *m, const spry_quantize_options *options,
                                       samples *s, spry_error *error);

static inline int64_t samples_batches(const samples *s)
{
    return (s->count + s->batch - 1) / s->batch;
}

/* Batch `index` as the model's input; the caller destroys it. Fails as spry_dataset_batch. */
SPRY_MUST_USE spry_status samples_batch(const samples *s, const spry_allocator *allocator,
                                        int64_t index, spry_value **input, spry_error *error);

/* The same; labels[batch], which may be NULL, receives the classes; noise has
 * none. */
SPRY_MUST_USE spry_status samples_labelled(const samples *s, const spry_allocator *allocator,
                                           int64_t index, int64_t *labels, spry_value **input,
                                           spry_error *error);

/* The first sample of batch `index`. */
int64_t samples_first(const samples *s, int64_t index);

/* Makes the values outputs of `m`, behind those that it has. output_of[i] becomes the number of the
 * output that values[i] is, or GRAPH_NONE for an input. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status samples_expose(model *m, const int32_t *values, int32_t value_count,
                                         int32_t *output_of, spry_error *error);

/* Sees one batch: tensors[i] is the value that was asked for as number i. */
typedef struct samples_view {
    int64_t first; /* sample with which the batch begins */
    int64_t count; /* samples in it */
    const spry_tensor *const *tensors;
} samples_view;
typedef spry_status (*samples_visitor)(void *context, const samples_view *view, spry_error *error);

/* Runs all samples through the float model `m` and shows the visitor the f32 tensors `values` of
 * its main graph (inputs or results of nodes) after each batch; `what` is for the progress bar.
 * Fails as samples_open and spry_session_run, with SPRY_CANCELLED, and as the visitor does. */
SPRY_MUST_USE spry_status samples_visit(const model *m, const spry_quantize_options *options,
                                        const int32_t *values, int32_t value_count,
                                        const char *what, samples_visitor visitor, void *context,
                                        spry_error *error);

#endif
