/* SQuant (squant.h). */
#include "base/alloc.h"
#include "quantize/calibrate/channel_summary.h"
#include "quantize/method/method.h"

/* Convolutions in groups have kernels that share weights' places, not inputs. */
static bool has_means(const quantize_job *job, const weight_record *r)
{
    const graph_node *n = &job->m->main->nodes[r->w.node];

    return graph_attribute_int(n, "group", 1) == 1 && graph_attribute_int(n, "transA", 0) == 0;
}

/* Of the first operator that uses a weight. */
static spry_status plan_means(quantize_job *job, channel_summary *of, int32_t *count,
                              spry_error *error)
{
    const graph *g = job->m->main;

    for (int32_t i = 0; i < job->weight_count; i++) {
        const weight_record *r = &job->weights[i];
        const graph_node *n = &g->nodes[r->w.node];
        size_t inputs = (size_t)r->w.inputs;

        if (!has_means(job, r)) {
            continue;
        }
        of[*count] = (channel_summary){.value = n->inputs[0],
                                       .channels = r->w.inputs,
                                       .channels_last = channel_summary_last(n),
                                       .means = arena_array(job->memory, inputs, sizeof(double))};
        if (of[(*count)++].means == NULL) {
            return alloc_failed(error, inputs * sizeof(double));
        }
    }
    return SPRY_OK;
}

static spry_status keep_means(quantize_job *job, const channel_summary *of, spry_error *error)
{
    for (int32_t i = 0, at = 0; i < job->weight_count; i++) {
        weight_record *r = &job->weights[i];
        float *means;

        if (!has_means(job, r)) {
            continue;
        }
        means = arena_array(job->memory, (size_t)r->w.inputs, sizeof *means);
        if (means == NULL) {
            return alloc_failed(error, (size_t)r->w.inputs * sizeof *means);
        }
        for (int64_t k = 0; k < r->w.inputs; k++) {
            means[k] = (float)of[at].means[k];
        }
        r->input_means = means;
        at++;
    }
    return SPRY_OK;
}

static spry_status search(quantize_job *job, spry_error *error)
{
    channel_summary *of;
    int32_t count = 0;
    spry_status status = method_cut(job, error);

    if (status != SPRY_OK || !job->options->weighted) {
        return status;
    }
    of = arena_array(job->memory, (size_t)job->weight_count + 1, sizeof *of);
    if (of == NULL) {
        return alloc_failed(error, (size_t)job->weight_count * sizeof *of);
    }
    status = plan_means(job, of, &count, error);
    if (status == SPRY_OK) {
        status = channel_summary_find(job->m, job->options, of, count, "measuring means", error);
    }
    return status == SPRY_OK ? keep_means(job, of, error) : status;
}

static spry_status round_weights(const method_call *call, spry_error *error)
{
    return method_round(call, call->job->stages, error);
}

const method method_squant = {
    .facts = {"squant", "errors of each kernel and output channel cancel (needs no data)"},
    .search = search,
    .round = round_weights};
