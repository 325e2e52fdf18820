/* Quantizing a model: the steps, in their order. */
#include "spry/quantize.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/progress.h"
#include "model/pass.h"
#include "quantize/assignment.h"
#include "quantize/bias_correction.h"
#include "quantize/calibrate.h"
#include "quantize/choose.h"
#include "quantize/format.h"
#include "quantize/intake.h"
#include "quantize/method.h"
#include "quantize/observe.h"
#include "quantize/preparation.h"

spry_quantize_options spry_quantize_options_default(void)
{
    return (spry_quantize_options){.struct_size = sizeof(spry_quantize_options),
                                   .method = "squant",
                                   .weight_bits = 8,
                                   .stages = "ekc",
                                   .format = "qdq",
                                   .range = "mse"};
}

/* ---- what is asked for ---- */

static spry_status read_stages(const char *text, squant_stages *stages, spry_error *error)
{
    static const struct {
        const char *name;
        squant_stages stages;
    } known[] = {{"e", SQUANT_E}, {"ek", SQUANT_K}, {"ec", SQUANT_C}, {"ekc", SQUANT_EKC}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].name) == 0) {
            *stages = known[i].stages;
            return SPRY_OK;
        }
    }
    return spry_fail(error, SPRY_USAGE, "stages", "e, ek, ec or ekc", "there are no stages \"%s\"",
                     text);
}

enum { LEAST_GROUP = 16 }; /* as runtimes have it */

/* The format agrees with the other options. */
static spry_status check_format_options(const quantize_job *job, spry_error *error)
{
    const char *reason = job->format->forbids != NULL ? job->format->forbids(job) : NULL;

    return reason == NULL ? SPRY_OK
                          : spry_fail(error, SPRY_USAGE, "format", "choose another format",
                                      "the format %s %s", job->format->facts.name, reason);
}

static spry_status check_options(quantize_job *job, spry_error *error)
{
    const spry_quantize_options *o = job->options;
    spry_status status;

    if (o->struct_size != sizeof *o) {
        return spry_fail(error, SPRY_USAGE, "options", "start from spry_quantize_options_default()",
                         "not initialised");
    }
    if (o->weight_bits < GRID_LEAST_BITS || o->weight_bits > GRID_MOST_BITS) {
        return spry_fail(error, SPRY_USAGE, "weight bits", "2 to 8", "%d bits", o->weight_bits);
    }
    if (o->activation_bits != 0 &&
        (o->activation_bits < GRID_LEAST_BITS || o->activation_bits > GRID_MOST_BITS)) {
        return spry_fail(error, SPRY_USAGE, "activation bits", "2 to 8, or 0 to keep them f32",
                         "%d bits", o->activation_bits);
    }
    if (o->group != 0 && (o->group < LEAST_GROUP || (o->group & (o->group - 1)) != 0)) {
        return spry_fail(error, SPRY_USAGE, "group", "0, 16, 32, 64, 128, ...",
                         "groups of %lld inputs", (long long)o->group);
    }
    status = assignment_check(o, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (assignment_wants_activations(o) && o->calibration == NULL) {
        return spry_fail(error, SPRY_USAGE, "activation bits",
                         "for example --calibrate cifar10:train.bin",
                         "activations are quantized by what they are on samples; none are given");
    }
    status = method_find(o->method, &job->method, error);
    if (status == SPRY_OK) {
        status = format_find(o->format, &job->format, error);
    }
    if (status == SPRY_OK) {
        status = check_format_options(job, error);
    }
    if (status == SPRY_OK) {
        status = preparation_check(o, error);
    }
    if (status == SPRY_OK) {
        status = observe_range_find(o->range, &(observe_range){0}, error);
    }
    if (status == SPRY_OK && (o->bias_correction || o->weighted) && o->calibration == NULL) {
        status = spry_fail(error, SPRY_USAGE, o->weighted ? "weighted" : "bias correction",
                           "for example --calibrate cifar10:train.bin",
                           "means are taken over samples; none are given");
    }
    if (status == SPRY_OK && job->method->needs_data && o->calibration == NULL) {
        status = spry_fail(error, SPRY_USAGE, "method", "for example --calibrate cifar10:train.bin",
                           "the method %s looks at samples; none are given", o->method);
    }
    return status == SPRY_OK ? read_stages(o->stages, &job->stages, error) : status;
}

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

/* The float weights are no longer read. */
static spry_status finish(quantize_job *job, spry_error *error)
{
    pass_context context = {.for_file = true};
    spry_status status = graph_sort(job->m->main, error);

    return status == SPRY_OK ? pass_dead(job->m->main, &context, error) : status;
}

static spry_status run(quantize_job *job, spry_error *error)
{
    static spry_status (*const steps[])(quantize_job *, spry_error *) = {
        assignment_prepare, intake,      prepare,      choose_weights, choose_activations,
        calibrate,          cut_weights, check_format, round_weights,  correct_biases};
    spry_status status = SPRY_OK;

    for (size_t i = 0; status == SPRY_OK && i < sizeof steps / sizeof steps[0]; i++) {
        status = steps[i](job, error);
    }
    if (status == SPRY_OK) {
        job->facts->activations = job->activation_count;
        status = job->format->write(job, error);
    }
    return status == SPRY_OK ? finish(job, error) : status;
}

spry_status spry_quantize(const spry_model *source, const spry_quantize_options *options,
                          spry_model **quantized, spry_quantization **facts, spry_error *error)
{
    quantize_job job = {.options = options};
    spry_status status = check_options(&job, error);

    *quantized = NULL;
    *facts = NULL;
    if (status == SPRY_OK) {
        status = threads_create(&source->allocator, options->threads, &job.team, error);
    }
    if (status == SPRY_OK) {
        status = model_copy(source, &job.m, error);
    }
    if (status == SPRY_OK) {
        job.memory = &job.m->memory;
        status = run(&job, error);
    }
    threads_destroy(job.team);
    if (status != SPRY_OK) {
        spry_quantization_destroy(job.facts);
        spry_model_destroy(job.m);
        return status;
    }
    *quantized = job.m;
    *facts = job.facts;
    return SPRY_OK;
}
