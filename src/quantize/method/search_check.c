/* Whole models on samples, with and without what the search prefers. */
#include "quantize/method/search_check.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/progress.h"
#include "quantize/calibrate/scores.h"
#include "quantize/method/method.h"

/* Deviations within which a normal number is above, nine times in ten. */
static const double NINE_IN_TEN = 1.2816;

typedef struct checker {
    const quantize_job *job;
    const layers *found;
    search_result *tried;
    scores scores;
    double *errors; /* [samples] of the best so far */
    arena scratch;  /* of one weight */
} checker;

/* ---- one whole model ---- */

/* Steps of its own for each weight; codes are the job's, which it makes again at the end. */
static spry_status copy_weights(const quantize_job *job, quantize_job *one, spry_error *error)
{
    size_t count = (size_t)job->weight_count + 1;
    size_t nodes = (size_t)job->node_count + 1;

    one->weights = arena_array(one->memory, count, sizeof *one->weights);
    one->record_of = arena_array(one->memory, nodes, sizeof(weight_record *));
    if (one->weights == NULL || one->record_of == NULL) {
        return alloc_failed(error, count * sizeof *one->weights);
    }
    for (int32_t i = 0; i < job->node_count; i++) {
        const weight_record *r = job->record_of[i];

        one->record_of[i] = r != NULL ? &one->weights[r - job->weights] : NULL;
    }
    for (int32_t i = 0; i < job->weight_count; i++) {
        weight_record *r = &one->weights[i];
        size_t steps = (size_t)record_blocks(&job->weights[i]);

        *r = job->weights[i];
        r->steps = arena_array(one->memory, steps, sizeof *r->steps);
        if (r->steps == NULL) {
            return alloc_failed(error, steps * sizeof *r->steps);
        }
        memcpy(r->steps, job->weights[i].steps, steps * sizeof *r->steps);
    }
    return SPRY_OK;
}

static spry_status round_all(checker *c, quantize_job *one, spry_error *error)
{
    squant_report report = {0};
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < one->weight_count; i++) {
        weight_record *r = &one->weights[i];
        size_t count = (size_t)weight_count(&r->w);
        float *dense;

        arena_reset(&c->scratch);
        dense = arena_array(&c->scratch, count, sizeof *dense);
        if (dense == NULL) {
            return alloc_failed(error, count * sizeof *dense);
        }
        weight_gather(&r->w, dense);
        status = one->method->round(&(method_call){dense, r, one, &report}, error);
    }
    return status;
}

static spry_status measure(checker *c, spry_error *error)
{
    quantize_job one = *c->job;
    spry_status status;

    one.m = NULL;
    status = model_copy(c->job->m, &one.m, error);
    if (status == SPRY_OK) {
        one.memory = &one.m->memory;
        status = copy_weights(c->job, &one, error);
    }
    if (status == SPRY_OK) {
        status = search_write(&one, c->found, c->tried, error);
    }
    if (status == SPRY_OK) {
        status = round_all(c, &one, error);
    }
    if (status == SPRY_OK) {
        status = job_write(&one, error);
    }
    if (status == SPRY_OK) {
        status = scores_compare(&c->scores, one.m, error);
    }
    spry_model_destroy(one.m);
    return status;
}

/* ---- the choice ---- */

bool search_is_better(const double *better, const double *worse, int64_t count)
{
    double sum = 0.0;
    double squares = 0.0;
    double mean;
    double variance;

    for (int64_t i = 0; i < count; i++) {
        double ratio = log(fmax(better[i], 1e-30)) - log(fmax(worse[i], 1e-30));

        sum += ratio;
        squares += ratio * ratio;
    }
    mean = sum / (double)count;
    variance = count > 1 ? fmax(squares - sum * mean, 0.0) / (double)(count - 1) : 0.0;
    return mean < -NINE_IN_TEN * sqrt(variance / (double)count);
}

/* Lets the layers of one source, and those that read the same, have what `from` says. Returns how
 * many changed. */
static int32_t take(const checker *c, layer_source source, const search_result *from)
{
    int32_t changed = 0;

    for (int32_t i = 0; i < c->found->count; i++) {
        const layer *l = &c->found->list[i];
        const layer *first = l->like != GRAPH_NONE ? &c->found->list[l->like] : l;

        if (first->source == source && c->tried[i].form != from[i].form) {
            c->tried[i] = from[i];
            changed++;
        }
    }
    return changed;
}

/* What the search prefers there stays where it pays. */
static spry_status try_source(checker *c, layer_source source, const search_result *results,
                              const search_result *affine, spry_error *error)
{
    spry_status status;

    if (take(c, source, results) == 0) {
        return SPRY_OK;
    }
    status = measure(c, error);
    if (status != SPRY_OK) {
        return status;
    }
    if (search_is_better(c->scores.errors, c->errors, c->scores.samples)) {
        memcpy(c->errors, c->scores.errors, (size_t)c->scores.samples * sizeof *c->errors);
    } else {
        (void)take(c, source, affine);
    }
    return SPRY_OK;
}

static spry_status choose(checker *c, search_result *results, const search_result *affine,
                          spry_error *error)
{
    static const layer_source sources[] = {LAYER_ANYTHING, LAYER_SOFTMAX, LAYER_GELU};
    size_t count = (size_t)c->found->count;
    spry_status status;

    c->tried = arena_array(c->job->memory, count, sizeof *c->tried);
    c->errors = arena_array(c->job->memory, (size_t)c->scores.samples, sizeof *c->errors);
    if (c->tried == NULL || c->errors == NULL) {
        return alloc_failed(error, count * sizeof *c->tried);
    }
    memcpy(c->tried, affine, count * sizeof *c->tried);
    status = measure(c, error);
    if (status == SPRY_OK) {
        memcpy(c->errors, c->scores.errors, (size_t)c->scores.samples * sizeof *c->errors);
    }
    for (size_t i = 0; status == SPRY_OK && i < sizeof sources / sizeof *sources; i++) {
        status = progress_report(c->job->options->progress, "whole models", (double)(i + 1),
                                 SEARCH_CHECK_MODELS, error);
        if (status == SPRY_OK) {
            status = try_source(c, sources[i], results, affine, error);
        }
    }
    if (status == SPRY_OK) {
        memcpy(results, c->tried, count * sizeof *results);
    }
    return status;
}

spry_status search_check(const quantize_job *job, const layers *found, search_result *results,
                         const search_result *affine, spry_error *error)
{
    checker c = {.job = job, .found = found};
    bool has_choice = false;
    spry_status status;

    for (int32_t i = 0; i < found->count; i++) {
        has_choice = has_choice || results[i].form != affine[i].form;
    }
    if (!has_choice) {
        return SPRY_OK;
    }
    arena_init(&c.scratch, &job->m->allocator, SIZE_MAX);
    status = scores_open(&c.scores, job->m, job->options, SEARCH_CHECK_SAMPLES, 0, error);
    if (status == SPRY_OK) {
        status = choose(&c, results, affine, error);
    }
    scores_release(&c.scores);
    arena_fini(&c.scratch);
    return status;
}
