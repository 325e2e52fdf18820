/* Ranges of activations by batch norms, without data (arXiv 1906.04721, 4.2): what a batch norm
 * makes is, per channel, about normal with mean beta and deviation |gamma|. */
#ifndef QUANTIZE_NORM_RANGES_H
#define QUANTIZE_NORM_RANGES_H

#include "base/arena.h"
#include "model/graph.h"

/* A value by channel; what is not known has no channels. */
typedef struct channel_stats {
    int64_t channels;
    double *mean, *deviation; /* [channels] */
    double *low, *high;       /* [channels]: 6 deviations about the mean, less what was clamped */
} channel_stats;

/* stats[i] is value i of a graph. */
typedef struct norm_ranges {
    channel_stats *stats;
    int32_t count;
} norm_ranges;

/* Notes the results of all BatchNormalization nodes of `g`, which may be folded afterwards. Lives
 * in `memory`. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status norm_ranges_record(const graph *g, arena *memory, norm_ranges *r,
                                             spry_error *error);

/* Follows what is known through Relu, Clip, Add (of terms taken as independent), Pad, pooling and
 * moves of numbers. `g` is sorted, its types are inferred, and it has the values it had, or more.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status norm_ranges_spread(const graph *g, arena *memory, norm_ranges *r,
                                             spry_error *error);

/* The range of value `id` over all channels; false: it is not known. */
bool norm_ranges_find(const norm_ranges *r, int32_t id, double *low, double *high);

#endif
