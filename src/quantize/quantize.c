/* Quantizing a model: the steps, in their order. */
#include "spry/quantize.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/progress.h"
#include "model/compact.h"
#include "model/pass.h"
#include "quantize/assignment.h"
#include "quantize/calibrate/calibrate.h"
#include "quantize/calibrate/work.h"
#include "quantize/choose.h"
#include "quantize/format/format.h"
#include "quantize/method/method.h"
#include "quantize/options.h"
#include "quantize/prepare/bias_correction.h"
#include "quantize/prepare/intake.h"
#include "quantize/prepare/preparation.h"

/* ---- codes ---- */

static spry_status round_weight(quantize_job *job, weight_record *r, float *dense,
                                spry_error *error)
{
    int64_t begun = clock_ns();
    squant_report report = {0};
    const float *in_place = weight_dense(&r->w);
    method_call call = {in_place != NULL ? in_place : dense, r, job, &report};
    spry_status status;

    if (in_place == NULL) {
        weight_gather(&r->w, dense);
    }
    status = job->method->round(&call, error);
    return status == SPRY_OK
               ? facts_add_row(job->facts, job->m->main, r, call.dense, &report, begun, error)
               : status;
}

/* Of the weights that must be gathered. */
static int64_t most_weights(const quantize_job *job)
{
    int64_t most = 0;

    for (int32_t i = 0; i < job->weight_count; i++) {
        const weight *w = &job->weights[i].w;
        int64_t count = weight_dense(w) == NULL ? weight_count(w) : 0;

        most = count > most ? count : most;
    }
    return most;
}

static spry_status round_weights(quantize_job *job, spry_error *error)
{
    const spry_allocator *a = &job->m->allocator;
    size_t bytes = (size_t)most_weights(job) * sizeof(float);
    float *dense = alloc_bytes(a, bytes);
    spry_status status = dense != NULL ? SPRY_OK : alloc_failed(error, bytes);
    char label[256];

    threads_engage(job->team);
    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        weight_record *r = &job->weights[i];
        const graph *g = job->m->main;

        (void)graph_node_label(g, &g->nodes[r->w.node], label, sizeof label);
        status = progress_report(job->options->progress, label, i, job->weight_count, error);
        if (status == SPRY_OK) {
            status = round_weight(job, r, dense, error);
        }
    }
    threads_rest(job->team);
    alloc_release(a, dense, bytes);
    return status;
}

/* ---- the whole ---- */

static spry_status check_format(quantize_job *job, spry_error *error)
{
    const graph *g = job->m->main;
    char label[256];

    for (int32_t i = 0; i < job->weight_count; i++) {
        const weight_record *r = &job->weights[i];
        const char *reason = job->format->refuses(job, r);

        if (reason != NULL) {
            return spry_fail(error, SPRY_UNSUPPORTED,
                             graph_node_label(g, &g->nodes[r->w.node], label, sizeof label),
                             "choose another format or method", "the format %s %s",
                             job->format->facts.name, reason);
        }
    }
    return SPRY_OK;
}

static spry_status cut_weights(quantize_job *job, spry_error *error)
{
    return job->method->search != NULL ? job->method->search(job, error) : method_cut(job, error);
}

/* The float weights are no longer read. `first` is the first value that the format has added. */
static spry_status finish(quantize_job *job, int32_t first, spry_error *error)
{
    pass_context context = {.for_file = true};
    graph *g = job->m->main;
    spry_status status = compact_constants(g, error);

    compact_defaults(g);
    if (status == SPRY_OK) {
        status = graph_sort(g, error);
    }
    if (status == SPRY_OK) {
        status = pass_dead(g, &context, error);
    }
    return status == SPRY_OK ? compact_codes(g, first, error) : status;
}

spry_status job_open(quantize_job *job, const spry_model *source,
                     const spry_quantize_options *options, spry_error *error)
{
    spry_status status;

    *job = (quantize_job){.options = options, .first = GRAPH_NONE, .last = GRAPH_NONE};
    status = options_read(job, error);
    if (status == SPRY_OK) {
        status = threads_create(&source->allocator, options->threads, &job->team, error);
    }
    if (status == SPRY_OK) {
        status = model_copy(source, &job->m, error);
    }
    if (status == SPRY_OK) {
        job->memory = &job->m->memory;
    }
    return status;
}

void job_close(quantize_job *job)
{
    threads_destroy(job->team);
    spry_quantization_destroy(job->facts);
    spry_model_destroy(job->m);
}

spry_status job_decide(quantize_job *job, spry_error *error)
{
    static spry_status (*const steps[])(quantize_job *, spry_error *) = {
        assignment_prepare, intake,         prepare,     choose_weights,
        choose_activations, calibrate,      cut_weights, check_format,
        round_weights,      correct_biases, work_count};
    spry_status status = SPRY_OK;

    for (size_t i = 0; status == SPRY_OK && i < sizeof steps / sizeof steps[0]; i++) {
        status = steps[i](job, error);
    }
    if (status == SPRY_OK) {
        job->facts->activations = job->activation_count;
    }
    return status;
}

spry_status job_write(quantize_job *job, spry_error *error)
{
    int32_t first = job->m->main->value_count;
    spry_status status = job->format->write(job, error);

    return status == SPRY_OK ? finish(job, first, error) : status;
}

spry_status spry_quantize(const spry_model *source, const spry_quantize_options *options,
                          spry_model **quantized, spry_quantization **facts, spry_error *error)
{
    quantize_job job;
    spry_status status = job_open(&job, source, options, error);

    *quantized = NULL;
    *facts = NULL;
    if (status == SPRY_OK) {
        status = job_decide(&job, error);
    }
    if (status == SPRY_OK) {
        status = job_write(&job, error);
    }
    if (status == SPRY_OK) {
        *quantized = job.m;
        *facts = job.facts;
        job.m = NULL;
        job.facts = NULL;
    }
    job_close(&job);
    return status;
}
