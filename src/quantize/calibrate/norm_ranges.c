/* Normal distributions per channel, from node to node. */
#include "quantize/calibrate/norm_ranges.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/tensor.h"

static const double DEVIATIONS = 6.0;

static spry_status make_room(channel_stats *s, int64_t channels, arena *memory, spry_error *error)
{
    size_t count = (size_t)channels;
    double *all = arena_array(memory, 4 * count, sizeof *all);

    if (all == NULL) {
        return alloc_failed(error, 4 * count * sizeof *all);
    }
    *s = (channel_stats){channels, all, all + count, all + 2 * count, all + 3 * count};
    return SPRY_OK;
}

static void bound(channel_stats *s, int64_t channel)
{
    s->low[channel] = s->mean[channel] - DEVIATIONS * s->deviation[channel];
    s->high[channel] = s->mean[channel] + DEVIATIONS * s->deviation[channel];
}

static const tensor *f32_vector(const graph *g, int32_t id)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL && t->data != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank == 1 ? t : NULL;
}

static spry_status record_node(const graph *g, const graph_node *n, arena *memory, norm_ranges *r,
                               spry_error *error)
{
    const tensor *gamma = f32_vector(g, n->inputs[1]);
    const tensor *beta = f32_vector(g, n->inputs[2]);
    channel_stats *s = n->outputs[0] != GRAPH_NONE ? &r->stats[n->outputs[0]] : NULL;
    spry_status status;

    if (s == NULL || gamma == NULL || beta == NULL || gamma->shape[0] != beta->shape[0] ||
        gamma->shape[0] < 1) {
        return SPRY_OK;
    }
    status = make_room(s, gamma->shape[0], memory, error);
    for (int64_t c = 0; status == SPRY_OK && c < s->channels; c++) {
        s->mean[c] = (double)((const float *)beta->data)[c];
        s->deviation[c] = fabs((double)((const float *)gamma->data)[c]);
        bound(s, c);
    }
    return status;
}

spry_status norm_ranges_record(const graph *g, arena *memory, norm_ranges *r, spry_error *error)
{
    size_t count = (size_t)g->value_count + 1;
    spry_status status = SPRY_OK;

    *r = (norm_ranges){arena_array(memory, count, sizeof *r->stats), g->value_count};
    if (r->stats == NULL) {
        return alloc_failed(error, count * sizeof *r->stats);
    }
    memset(r->stats, 0, count * sizeof *r->stats);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (!n->removed && graph_node_is(n, "BatchNormalization") && n->input_count >= 5) {
            status = record_node(g, n, memory, r, error);
        }
    }
    return status;
}

/* ---- from node to node ---- */

static double chance_below(double x)
{
    return 0.5 * erfc(-x * sqrt(0.5));
}

static double density(double x)
{
    return exp(-0.5 * x * x) / sqrt(2.0 * acos(-1.0));
}

/* Mean and deviation of a normal variable clamped to [low, high]; either may be infinite. */
static void clamp_moments(double low, double high, double *mean, double *deviation)
{
    double m = *mean;
    double s = *deviation;
    double first = 0.0;
    double second = 0.0;
    double inside = 1.0;

    if (s <= 0.0) {
        *mean = fmin(fmax(m, low), high);
        return;
    }
    if (isfinite(low)) {
        double at = (low - m) / s;

        inside -= chance_below(at);
        first += low * chance_below(at) + s * density(at);
        second += low * low * chance_below(at) + s * (m + low) * density(at);
    }
    if (isfinite(high)) {
        double at = (high - m) / s;

        inside -= chance_below(-at);
        first += high * chance_below(-at) - s * density(at);
        second += high * high * chance_below(-at) - s * (m + high) * density(at);
    }
    first += m * inside;
    second += (m * m + s * s) * inside;
    *mean = first;
    *deviation = sqrt(fmax(second - first * first, 0.0));
}

static spry_status spread_clamp(const channel_stats *x, double low, double high, arena *memory,
                                channel_stats *y, spry_error *error)
{
    spry_status status = make_room(y, x->channels, memory, error);

    for (int64_t c = 0; status == SPRY_OK && c < y->channels; c++) {
        y->mean[c] = x->mean[c];
        y->deviation[c] = x->deviation[c];
        clamp_moments(low, high, &y->mean[c], &y->deviation[c]);
        y->low[c] = fmin(fmax(x->low[c], low), high);
        y->high[c] = fmin(fmax(x->high[c], low), high);
    }
    return status;
}

static spry_status spread_sum(const channel_stats *a, const channel_stats *b, arena *memory,
                              channel_stats *y, spry_error *error)
{
    spry_status status = make_room(y, a->channels, memory, error);

    for (int64_t c = 0; status == SPRY_OK && c < y->channels; c++) {
        y->mean[c] = a->mean[c] + b->mean[c];
        y->deviation[c] = hypot(a->deviation[c], b->deviation[c]);
        bound(y, c);
        y->low[c] = fmax(y->low[c], a->low[c] + b->low[c]);
        y->high[c] = fmin(y->high[c], a->high[c] + b->high[c]);
    }
    return status;
}

/* Channels that padding adds are zeros; zeros beside the others are in every range. */
static spry_status spread_pad(const graph *g, const graph_node *n, const channel_stats *x,
                              arena *memory, channel_stats *y, spry_error *error)
{
    const tensor *pads =
        n->input_count > 1 && n->inputs[1] != GRAPH_NONE ? graph_constant(g, n->inputs[1]) : NULL;
    const tensor *fill =
        n->input_count > 2 && n->inputs[2] != GRAPH_NONE ? graph_constant(g, n->inputs[2]) : NULL;
    bool is_zero = fill == NULL || (fill->dtype == SPRY_DTYPE_F32 && tensor_count(fill) == 1 &&
                                    *(const float *)fill->data == 0.0f);
    const int64_t *sizes = pads != NULL && pads->dtype == SPRY_DTYPE_I64 ? pads->data : NULL;
    int64_t rank = sizes != NULL ? tensor_count(pads) / 2 : 0;
    spry_status status;

    if (rank < 2 || n->input_count > 3 || !is_zero || sizes[1] < 0 || sizes[rank + 1] < 0 ||
        strcmp(graph_attribute_string(n, "mode", "constant"), "constant") != 0) {
        return SPRY_OK;
    }
    status = make_room(y, x->channels + sizes[1] + sizes[rank + 1], memory, error);
    for (int64_t c = 0; status == SPRY_OK && c < y->channels; c++) {
        int64_t from = c - sizes[1];
        bool is_old = from >= 0 && from < x->channels;

        y->mean[c] = is_old ? x->mean[from] : 0.0;
        y->deviation[c] = is_old ? x->deviation[from] : 0.0;
        y->low[c] = is_old ? x->low[from] : 0.0;
        y->high[c] = is_old ? x->high[from] : 0.0;
    }
    return status;
}

/* A bound of Clip: a constant, `fallback` where there is none, NAN where it is computed. */
static double clip_bound(const graph *g, const graph_node *n, int32_t port, const char *name,
                         double fallback)
{
    bool is_given = port < n->input_count && n->inputs[port] != GRAPH_NONE;
    const tensor *t = is_given ? graph_constant(g, n->inputs[port]) : NULL;

    if (!is_given) {
        return (double)graph_attribute_float(n, name, (float)fallback);
    }
    return t != NULL && t->dtype == SPRY_DTYPE_F32 && tensor_count(t) == 1
               ? (double)*(const float *)t->data
               : (double)NAN;
}

/* Do channels stay on axis 1? */
static bool keeps_channels(const graph *g, const graph_node *n, int64_t channels)
{
    static const char *const types[] = {"MaxPool", "AveragePool", "GlobalAveragePool", "Identity",
                                        "Slice"};
    const graph_type *type = &g->values[n->outputs[0]].type;

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (graph_node_is(n, types[i])) {
            return type->has_rank && type->rank > 2 && type->dims[1].size == channels;
        }
    }
    return graph_node_is(n, "Flatten"); /* its rank keeps it out of sums */
}

static bool is_image(const graph *g, int32_t id)
{
    return g->values[id].type.has_rank && g->values[id].type.rank > 2;
}

static spry_status spread_node(const graph *g, const graph_node *n, arena *memory, norm_ranges *r,
                               spry_error *error)
{
    const channel_stats *x = &r->stats[n->inputs[0]];
    channel_stats *y = &r->stats[n->outputs[0]];

    if (graph_node_is(n, "Relu")) {
        return spread_clamp(x, 0.0, INFINITY, memory, y, error);
    }
    if (graph_node_is(n, "Clip")) {
        double low = clip_bound(g, n, 1, "min", -INFINITY);
        double high = clip_bound(g, n, 2, "max", INFINITY);

        return low <= high ? spread_clamp(x, low, high, memory, y, error) : SPRY_OK;
    }
    if (graph_node_is(n, "Pad")) {
        return spread_pad(g, n, x, memory, y, error);
    }
    if (graph_node_is(n, "Add") && n->inputs[1] != GRAPH_NONE &&
        r->stats[n->inputs[1]].channels == x->channels && is_image(g, n->inputs[0]) &&
        is_image(g, n->inputs[1])) {
        return spread_sum(x, &r->stats[n->inputs[1]], memory, y, error);
    }
    if (keeps_channels(g, n, x->channels)) {
        *y = *x;
    }
    return SPRY_OK;
}

spry_status norm_ranges_spread(const graph *g, arena *memory, norm_ranges *r, spry_error *error)
{
    size_t count = (size_t)g->value_count + 1;
    channel_stats *stats = arena_array(memory, count, sizeof *stats);
    spry_status status = SPRY_OK;

    if (stats == NULL) {
        return alloc_failed(error, count * sizeof *stats);
    }
    memset(stats, 0, count * sizeof *stats);
    memcpy(stats, r->stats, (size_t)r->count * sizeof *stats);
    *r = (norm_ranges){stats, g->value_count};
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (!n->removed && n->input_count > 0 && n->inputs[0] != GRAPH_NONE &&
            n->output_count > 0 && n->outputs[0] != GRAPH_NONE &&
            stats[n->inputs[0]].channels > 0 && stats[n->outputs[0]].channels == 0) {
            status = spread_node(g, n, memory, r, error);
        }
    }
    return status;
}

bool norm_ranges_find(const norm_ranges *r, int32_t id, double *low, double *high)
{
    const channel_stats *s = id < r->count ? &r->stats[id] : NULL;

    if (s == NULL || s->channels == 0) {
        return false;
    }
    *low = s->low[0];
    *high = s->high[0];
    for (int64_t c = 1; c < s->channels; c++) {
        *low = fmin(*low, s->low[c]);
        *high = fmax(*high, s->high[c]);
    }
    return isfinite(*low) && isfinite(*high);
}
