/* AdaRound (adaround.h) on calibration samples. */
#include "base/alloc.h"
#include "base/progress.h"
#include "quantize/method/adaround.h"
#include "quantize/method/method.h"

/* The grid is that of rounding to the nearest, from which learning starts. */
static spry_status learn(void *context, int32_t index, const gram *sums, spry_error *error)
{
    quantize_job *job = context;
    const spry_allocator *a = &job->m->allocator;
    weight_record *r = &job->weights[index];
    size_t bytes = (size_t)weight_count(&r->w) * sizeof(float);
    const float *in_place = weight_dense(&r->w);
    float *gathered = in_place == NULL ? alloc_bytes(a, bytes) : NULL;
    adaround_options options = adaround_options_default();
    squant_report report;
    method_call call = {in_place != NULL ? in_place : gathered, r, job, &report};
    spry_status status = progress_report(job->options->progress, "learning roundings", index,
                                         job->weight_count, error);

    if (call.dense == NULL) {
        return alloc_failed(error, bytes);
    }
    if (gathered != NULL) {
        weight_gather(&r->w, gathered);
    }
    if (status == SPRY_OK) {
        status = method_round(&call, SQUANT_E, error);
    }
    if (status == SPRY_OK) {
        status = adaround_weight(r, call.dense, sums, &options, a, job->team, error);
    }
    alloc_release(a, gathered, bytes);
    return status;
}

static spry_status search(quantize_job *job, spry_error *error)
{
    gram_options options = gram_options_default();
    spry_status status = method_cut(job, error);

    return status == SPRY_OK ? gram_for_each(job, &options, learn, job, error) : status;
}

/* Weights whose inputs gram_for_each cannot see have no steps yet. */
static spry_status round_weights(const method_call *call, spry_error *error)
{
    return call->record->steps[0] > 0.0f ? SPRY_OK : method_round(call, call->job->stages, error);
}

const method method_adaround = {
    .facts = {"adaround", "which way each weight is rounded is learnt on samples"},
    .needs_data = true,
    .search = search,
    .round = round_weights};
