/* Coordinate descent over classes of channels. */
#include "quantize/method/reorder_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "quantize/method/channel_classes.h"

enum {
    SWEEPS = 2,
    MOST_SINGLE = 6 /* layers of a class that are sorted by alone */
};

/* A weight seen as the largest number of each kernel. */
typedef struct layer {
    reorder_weights w;  /* taps 1 */
    int32_t classes[2]; /* of outputs and inputs */
    float largest;
    double before, now;
} layer;

typedef struct chooser {
    quantize_job *job;
    arena room;
    channel_classes classes;
    layer *layers;     /* [weight_count] */
    int32_t **orders;  /* [classes] */
    int32_t *identity; /* [most channels] */
} chooser;

typedef struct channel_key {
    double key;
    int32_t channel;
} channel_key;

static spry_status open_layer(chooser *c, int32_t index, const reorder_weights *cut,
                              spry_error *error)
{
    const weight *w = &c->job->weights[index].w;
    layer *l = &c->layers[index];
    float *peaks = arena_array(&c->room, (size_t)(w->outputs * w->inputs), sizeof *peaks);
    const float *source = w->source->data;

    if (peaks == NULL) {
        return alloc_failed(error, (size_t)(w->outputs * w->inputs) * sizeof *peaks);
    }
    l->w = *cut;
    l->w.dense = peaks;
    l->w.taps = 1;
    for (int side = 0; side < 2; side++) {
        int axis = side == 0 ? w->output_axis : 1 - w->output_axis;

        l->classes[side] = channel_class(&c->classes, w->value, axis);
    }
    for (int64_t m = 0; m < w->outputs; m++) {
        for (int64_t n = 0; n < w->inputs; n++, peaks++) {
            const float *x = source + m * w->output_stride + n * w->input_stride;

            *peaks = 0.0f;
            for (int64_t tap = 0; tap < w->taps; tap++) {
                *peaks = fmaxf(*peaks, fabsf(x[tap]));
            }
            l->largest = fmaxf(l->largest, *peaks);
        }
    }
    return SPRY_OK;
}

static const int32_t *order_of(const chooser *c, int32_t index)
{
    return index != GRAPH_NONE ? c->orders[index] : c->identity;
}

static spry_status price(chooser *c, layer *l, double *result, spry_error *error)
{
    return reorder_price(&l->w, REORDER_RANGE, order_of(c, l->classes[0]),
                         order_of(c, l->classes[1]), &c->job->m->allocator, result, error);
}

static bool touches(const layer *l, int32_t index)
{
    return l->classes[0] == index || l->classes[1] == index;
}

/* Of the layers that touch the class. */
static spry_status total_of(chooser *c, int32_t index, double *total, spry_error *error)
{
    spry_status status = SPRY_OK;

    *total = 0.0;
    for (int32_t i = 0; status == SPRY_OK && i < c->job->weight_count; i++) {
        layer *l = &c->layers[i];

        if (touches(l, index) && l->before > 0.0) {
            status = price(c, l, &l->now, error);
            *total += l->now / l->before;
        }
    }
    return status;
}

/* ---- candidates ---- */

/* Adds how large the layer's weights of each channel are, as a share of its largest. */
static void add_sizes(const layer *l, int32_t index, channel_key *keys)
{
    for (int side = 0; side < 2; side++) {
        int64_t outer = side == 0 ? l->w.outputs : l->w.inputs;
        int64_t inner = side == 0 ? l->w.inputs : l->w.outputs;
        int64_t step = side == 0 ? l->w.inputs : 1;
        int64_t pace = side == 0 ? 1 : l->w.inputs;

        for (int64_t i = 0; l->classes[side] == index && i < outer; i++) {
            float most = 0.0f;

            for (int64_t k = 0; k < inner; k++) {
                most = fmaxf(most, l->w.dense[i * step + k * pace]);
            }
            keys[i].key += (double)most / (double)l->largest;
        }
    }
}

static int compare_keys(const void *a, const void *b)
{
    const channel_key *x = a;
    const channel_key *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->channel < y->channel ? -1 : x->channel > y->channel;
}

/* Sorted by layer `only`, or by all of them. False when the layer does not touch the class. */
static bool sort_class(const chooser *c, int32_t index, int32_t only, channel_key *keys,
                       int32_t *order)
{
    int64_t size = c->classes.sizes[index];
    bool any = false;

    for (int64_t i = 0; i < size; i++) {
        keys[i] = (channel_key){0.0, (int32_t)i};
    }
    for (int32_t i = 0; i < c->job->weight_count; i++) {
        const layer *l = &c->layers[i];

        if ((only == GRAPH_NONE || only == i) && touches(l, index) && l->largest > 0.0f) {
            add_sizes(l, index, keys);
            any = true;
        }
    }
    if (any) {
        qsort(keys, (size_t)size, sizeof *keys, compare_keys);
    }
    for (int64_t i = 0; i < size; i++) {
        order[i] = keys[i].channel;
    }
    return any;
}

static spry_status choose_order(chooser *c, int32_t index, channel_key *keys, int32_t *room,
                                spry_error *error)
{
    int32_t *order = c->orders[index];
    size_t bytes = (size_t)c->classes.sizes[index] * sizeof *order;
    double best;
    spry_status status = total_of(c, index, &best, error);
    int tried = 0;

    memcpy(room, order, bytes);
    for (int32_t i = GRAPH_NONE;
         status == SPRY_OK && i < c->job->weight_count && tried <= MOST_SINGLE; i++) {
        double total;

        if (!sort_class(c, index, i, keys, order)) {
            continue;
        }
        tried++;
        status = total_of(c, index, &total, error);
        if (status == SPRY_OK && total < best) {
            best = total;
            memcpy(room, order, bytes);
        }
    }
    memcpy(order, room, bytes);
    return status == SPRY_OK ? total_of(c, index, &best, error) : status;
}

/* ---- the whole ---- */

static spry_status make_room(chooser *c, const reorder_weights *cuts, channel_key **keys,
                             int32_t **room, spry_error *error)
{
    const quantize_job *job = c->job;
    int64_t most = 1;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < job->weight_count; i++) {
        most = cuts[i].outputs > most ? cuts[i].outputs : most;
        most = cuts[i].inputs > most ? cuts[i].inputs : most;
    }
    for (int32_t i = 0; i < c->classes.count; i++) {
        most = c->classes.sizes[i] > most ? c->classes.sizes[i] : most;
    }
    c->layers = arena_array(&c->room, (size_t)job->weight_count + 1, sizeof *c->layers);
    c->orders = arena_array(&c->room, (size_t)c->classes.count + 1, sizeof *c->orders);
    c->identity = arena_array(&c->room, (size_t)most, sizeof *c->identity);
    *room = arena_array(&c->room, (size_t)most, sizeof **room);
    *keys = arena_array(&c->room, (size_t)most, sizeof **keys);
    if (c->layers == NULL || c->orders == NULL || c->identity == NULL || *room == NULL ||
        *keys == NULL) {
        return alloc_failed(error, (size_t)most * sizeof **keys);
    }
    for (int64_t i = 0; i < most; i++) {
        c->identity[i] = (int32_t)i;
    }
    for (int32_t i = 0; i < c->classes.count; i++) {
        size_t bytes = (size_t)c->classes.sizes[i] * sizeof **c->orders;

        c->orders[i] = arena_bytes(&c->room, bytes);
        if (c->orders[i] == NULL) {
            return alloc_failed(error, bytes);
        }
        memcpy(c->orders[i], c->identity, bytes);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = open_layer(c, i, &cuts[i], error);
    }
    return status;
}

static spry_status choose_orders(chooser *c, const reorder_weights *cuts, spry_error *error)
{
    channel_key *keys;
    int32_t *room;
    spry_status status = make_room(c, cuts, &keys, &room, error);

    for (int32_t i = 0; status == SPRY_OK && i < c->job->weight_count; i++) {
        layer *l = &c->layers[i];

        status = price(c, l, &l->before, error);
        l->now = l->before;
    }
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        for (int32_t i = 0; status == SPRY_OK && i < c->classes.count; i++) {
            status = choose_order(c, i, keys, room, error);
        }
    }
    return status;
}

static void tell(const chooser *c, const reorder_weights *cuts, reorder_report *reports,
                 reorder_graph_report *report)
{
    *report = (reorder_graph_report){.classes = c->classes.count};
    for (int32_t i = 0; i < c->classes.count; i++) {
        report->moved += memcmp(c->orders[i], c->identity,
                                (size_t)c->classes.sizes[i] * sizeof *c->identity) != 0;
    }
    for (int32_t i = 0; i < c->job->weight_count; i++) {
        const layer *l = &c->layers[i];
        double taps = (double)cuts[i].taps;

        reports[i] = (reorder_report){l->before * taps, l->now * taps, l->now * taps};
        report->before += l->before > 0.0;
        report->after += l->before > 0.0 ? l->now / l->before : 0.0;
    }
}

spry_status reorder_graph(quantize_job *job, const reorder_weights *cuts, reorder_report *reports,
                          reorder_graph_report *report, spry_error *error)
{
    graph *g = job->m->main;
    chooser c = {.job = job};
    spry_status status = infer_graph(g, error);

    arena_init(&c.room, &job->m->allocator, SIZE_MAX);
    if (status == SPRY_OK) {
        status = channel_classes_find(g, &c.room, &c.classes, error);
    }
    if (status == SPRY_OK) {
        status = choose_orders(&c, cuts, error);
    }
    if (status == SPRY_OK) {
        tell(&c, cuts, reports, report);
        status = channel_classes_apply(g, &c.classes, c.orders, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        job->weights[i].w.source = g->values[job->weights[i].w.value].constant;
    }
    arena_fini(&c.room);
    return status;
}
