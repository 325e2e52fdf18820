/* SmoothQuant (arXiv 2211.10438): activations have channels that are much larger than others,
 * weights have not. Each channel of what a layer reads is divided by
 *
 *     t = max |x|^a / max |w|^(1 - a)        a = 1/2
 *
 * and the weights that meet it are multiplied by that, so that both share the difference. Dividing
 * is done by what makes the channel: the factors and offsets of a normalization, or the weights and
 * the bias of a layer before. */
#include <math.h>

#include "base/alloc.h"
#include "quantize/calibrate/channel_summary.h"
#include "quantize/prepare/layer_pairs.h"
#include "quantize/prepare/norms.h"
#include "quantize/prepare/preparation.h"

static const double STRENGTH = 0.5; /* a */

/* Channels that are always 0, or meet weights of 0 alone, stay. */
static double factor(float low, float high, double weights)
{
    double reach = fmax(fabs((double)low), fabs((double)high));
    double t = pow(reach, STRENGTH) / pow(weights, 1.0 - STRENGTH);

    return reach > 0.0 && weights > 0.0 && isfinite(t) && t > 0.0 ? t : 1.0;
}

static spry_status smooth_norms(quantize_job *job, spry_error *error)
{
    norms found;
    spry_status status = norms_find(job, &found, error);

    for (int32_t i = 0; status == SPRY_OK && i < found.count; i++) {
        const norm *n = &found.list[i];
        double *t = arena_array(&found.memory, (size_t)n->channels, sizeof *t);

        if (t == NULL) {
            status = alloc_failed(error, (size_t)n->channels * sizeof *t);
            break;
        }
        norms_weights(&found, n, t);
        for (int64_t c = 0; c < n->channels; c++) {
            t[c] = factor(n->low[c], n->high[c], t[c]);
        }
        status = norms_move(&found, n, t, NULL, error);
    }
    norms_release(&found);
    return status == SPRY_OK ? graph_sort(job->m->main, error) : status;
}

/* What the second layers read, channel by channel. */
static spry_status measure(const quantize_job *job, layer_pairs *found, channel_summary *ranges,
                           spry_error *error)
{
    const graph *g = found->g;

    for (int32_t i = 0; i < found->count; i++) {
        const graph_node *n = &g->nodes[found->list[i].second];
        int64_t channels = found->layers[found->list[i].first].w.outputs;

        ranges[i] =
            (channel_summary){.value = n->inputs[0],
                              .channels = channels,
                              .channels_last = channel_summary_last(n),
                              .low = arena_array(&found->memory, (size_t)channels, sizeof(float)),
                              .high = arena_array(&found->memory, (size_t)channels, sizeof(float))};
        if (ranges[i].low == NULL || ranges[i].high == NULL) {
            return alloc_failed(error, (size_t)channels * sizeof(float));
        }
    }
    return channel_summary_find(job->m, job->options, ranges, found->count, "measuring channels",
                                error);
}

static spry_status smooth_pairs(quantize_job *job, spry_error *error)
{
    layer_pairs found;
    channel_summary *ranges = NULL;
    spry_status status = layer_pairs_find(job->m->main, &found, error);

    if (status == SPRY_OK && found.count > 0) {
        ranges = arena_array(&found.memory, (size_t)found.count, sizeof *ranges);
        status = ranges != NULL ? measure(job, &found, ranges, error)
                                : alloc_failed(error, (size_t)found.count * sizeof *ranges);
    }
    for (int32_t i = 0; status == SPRY_OK && i < found.count; i++) {
        const layer_pair *pair = &found.list[i];

        for (int64_t c = 0; c < ranges[i].channels; c++) {
            double weights = layer_pairs_input(&found.layers[pair->second], c);

            layer_pairs_share(&found, pair, c,
                              factor(ranges[i].low[c], ranges[i].high[c], weights));
        }
    }
    if (status == SPRY_OK) {
        status = layer_pairs_write(&found, error);
    }
    layer_pairs_release(&found);
    return status;
}

static spry_status smooth(quantize_job *job, spry_error *error)
{
    spry_status status = smooth_norms(job, error);

    return status == SPRY_OK ? smooth_pairs(job, error) : status;
}

const preparation preparation_smooth = {
    .facts = {"smooth", "ranges of channels shared between activations and the weights behind"},
    .needs_data = true,
    .run = smooth};
