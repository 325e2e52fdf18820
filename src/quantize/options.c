/* Reading and checking what is asked for. */
#include "quantize/options.h"

#include <string.h>

#include "base/alloc.h"
#include "quantize/assignment.h"
#include "quantize/calibrate/observe.h"
#include "quantize/format/format.h"
#include "quantize/method/method.h"
#include "quantize/prepare/preparation.h"

spry_quantize_options spry_quantize_options_default(void)
{
    return (spry_quantize_options){.struct_size = sizeof(spry_quantize_options),
                                   .method = "squant",
                                   .weight_bits = 8,
                                   .stages = "ekc",
                                   .format = "qdq",
                                   .range = "mse",
                                   .block_outputs = 8,
                                   .block_inputs = 64,
                                   .reorder = "off",
                                   .twin = "pow2",
                                   .grids = "best",
                                   .units = "channel"};
}

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

/* Format and method agree with the other options. */
static spry_status check_choices(const quantize_job *job, spry_error *error)
{
    const char *reason = job->format->forbids != NULL ? job->format->forbids(job) : NULL;

    if (reason != NULL) {
        return spry_fail(error, SPRY_USAGE, "format", "choose another format", "the format %s %s",
                         job->format->facts.name, reason);
    }
    reason = job->method->forbids != NULL ? job->method->forbids(job) : NULL;
    return reason == NULL ? SPRY_OK
                          : spry_fail(error, SPRY_USAGE, "method", "choose another method",
                                      "the method %s %s", job->method->facts.name, reason);
}

static spry_status check_numbers(const spry_quantize_options *o, spry_error *error)
{
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
    if (o->rounds < 0) {
        return spry_fail(error, SPRY_USAGE, "rounds", "at least 1, or 0", "%d rounds", o->rounds);
    }
    return assignment_check(o, error);
}

/* Samples are there for whoever wants them. */
static spry_status check_samples(const quantize_job *job, spry_error *error)
{
    const spry_quantize_options *o = job->options;
    const struct {
        bool wanted;
        const char *where, *why;
    } uses[] = {
        {o->weighted, "weighted", "means are taken over samples"},
        {o->bias_correction, "bias correction", "means are taken over samples"},
        {job->method->needs_data, "method", "this method looks at samples"},
    };

    for (size_t i = 0; o->calibration == NULL && i < sizeof uses / sizeof uses[0]; i++) {
        if (uses[i].wanted) {
            return spry_fail(error, SPRY_USAGE, uses[i].where,
                             "for example --calibrate cifar10:train.bin", "%s; none are given",
                             uses[i].why);
        }
    }
    return SPRY_OK;
}

spry_status options_read(quantize_job *job, spry_error *error)
{
    const spry_quantize_options *o = job->options;
    spry_status status = check_numbers(o, error);

    if (status == SPRY_OK) {
        status = method_find(o->method, &job->method, error);
    }
    if (status == SPRY_OK) {
        job->metric = o->metric != NULL ? o->metric : job->method->metric;
        job->rounds = o->rounds != 0 ? o->rounds : job->method->rounds;
        status = format_find(o->format, &job->format, error);
    }
    if (status == SPRY_OK) {
        status = check_choices(job, error);
    }
    if (status == SPRY_OK) {
        status = preparation_check(o, error);
    }
    if (status == SPRY_OK) {
        status = observe_range_find(o->range, &(observe_range){0}, error);
    }
    if (status == SPRY_OK) {
        status = check_samples(job, error);
    }
    return status == SPRY_OK ? read_stages(o->stages, &job->stages, error) : status;
}
