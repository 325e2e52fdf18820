/* Finding pairs of layers, and moving factors between them. */
#include "quantize/prepare/layer_pairs.h"

#include <math.h>

#include "base/alloc.h"
#include "quantize/prepare/bias.h"

/* ---- which layers follow each other ---- */

static bool is_transparent(const graph_node *n)
{
    static const char *const types[] = {"Relu",        "LeakyRelu",         "PRelu",   "MaxPool",
                                        "AveragePool", "GlobalAveragePool", "Flatten", "Identity"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (graph_node_is(n, types[i])) {
            return true;
        }
    }
    return false;
}

static bool is_convolution(const graph_node *n)
{
    return graph_node_is(n, "Conv") || graph_node_is(n, "ConvTranspose");
}

/* The only node that reads value `id`, or GRAPH_NONE. */
static int32_t only_user(const layer_pairs *e, int32_t id)
{
    int32_t first = e->uses.offsets[id];

    return !e->g->values[id].is_output && e->uses.offsets[id + 1] - first == 1
               ? e->uses.users[first]
               : GRAPH_NONE;
}

/* The channels of one are the input channels of the other. */
static bool fit(const layer_pairs *e, int32_t first, int32_t second, bool is_flat)
{
    const graph *g = e->g;
    const pair_layer *a = &e->layers[first];
    const pair_layer *b = &e->layers[second];
    bool same_kind = is_convolution(&g->nodes[first]) == is_convolution(&g->nodes[second]);

    return b->w.outputs != 0 && (same_kind ? !is_flat : is_flat) &&
           a->w.outputs == b->groups * b->w.inputs &&
           graph_attribute_int(&g->nodes[second], "transA", 0) == 0;
}

/* The layer that alone reads what `node` gives, or GRAPH_NONE. */
static int32_t find_next(const layer_pairs *e, int32_t node)
{
    const graph *g = e->g;
    int32_t id = bias_result(g, &e->uses, node, e->layers[node].w.outputs);
    bool is_flat = false;
    int32_t user;

    while ((user = only_user(e, id)) != GRAPH_NONE && g->nodes[user].inputs[0] == id &&
           is_transparent(&g->nodes[user]) && g->nodes[user].output_count == 1) {
        is_flat = is_flat || graph_node_is(&g->nodes[user], "Flatten");
        id = g->nodes[user].outputs[0];
    }
    return user != GRAPH_NONE && g->nodes[user].inputs[0] == id && fit(e, node, user, is_flat)
               ? user
               : GRAPH_NONE;
}

/* ---- layers ---- */

static bool find_layer(const layer_pairs *e, int32_t node, pair_layer *l)
{
    const graph *g = e->g;
    const graph_node *n = &g->nodes[node];
    const char *reason;
    int32_t holder;
    int32_t port;

    *l = (pair_layer){.groups = is_convolution(n) ? graph_attribute_int(n, "group", 1) : 1};
    if (!weight_of_node(g, node, &l->w, &reason) || (l->w.output_axis == 1 && l->groups != 1) ||
        l->groups < 1 || only_user(e, l->w.value) == GRAPH_NONE) {
        l->w.outputs = 0;
        return false;
    }
    /* A Gemm may add something that is no number per output. */
    if (graph_node_is(n, "Gemm") && n->input_count > 2 && n->inputs[2] != GRAPH_NONE &&
        bias_of(g, &e->uses, node, l->w.outputs, &holder, &port) == NULL) {
        l->w.outputs = 0;
    }
    return l->w.outputs != 0;
}

static float weight_at(const weight *w, int64_t output, int64_t input, int64_t tap)
{
    const float *data = w->source->data;

    return data[output * w->output_stride + input * w->input_stride + tap];
}

static bool open_layer(layer_pairs *e, pair_layer *l)
{
    int64_t channels = l->groups * l->w.inputs;

    l->peaks = arena_array(&e->memory, (size_t)(l->w.outputs * l->w.inputs), sizeof *l->peaks);
    l->rows = arena_array(&e->memory, (size_t)l->w.outputs, sizeof *l->rows);
    l->inputs = arena_array(&e->memory, (size_t)channels, sizeof *l->inputs);
    if (l->peaks == NULL || l->rows == NULL || l->inputs == NULL) {
        return false;
    }
    for (int64_t m = 0; m < l->w.outputs; m++) {
        l->rows[m] = 1.0;
        for (int64_t n = 0; n < l->w.inputs; n++) {
            float *peak = &l->peaks[m * l->w.inputs + n];

            for (int64_t tap = 0; tap < l->w.taps; tap++) {
                *peak = fmaxf(*peak, fabsf(weight_at(&l->w, m, n, tap)));
            }
        }
    }
    for (int64_t c = 0; c < channels; c++) {
        l->inputs[c] = 1.0;
    }
    return true;
}

/* ---- factors ---- */

double layer_pairs_output(const pair_layer *l, int64_t output)
{
    const double *inputs = l->inputs + output / (l->w.outputs / l->groups) * l->w.inputs;
    double most = 0.0;

    for (int64_t n = 0; n < l->w.inputs; n++) {
        most = fmax(most, (double)l->peaks[output * l->w.inputs + n] * inputs[n]);
    }
    return most * l->rows[output];
}

double layer_pairs_input(const pair_layer *l, int64_t channel)
{
    int64_t rows = l->w.outputs / l->groups;
    int64_t first = channel / l->w.inputs * rows;
    double most = 0.0;

    for (int64_t m = first; m < first + rows; m++) {
        most = fmax(most, (double)l->peaks[m * l->w.inputs + channel % l->w.inputs] * l->rows[m]);
    }
    return most * l->inputs[channel];
}

void layer_pairs_share(layer_pairs *found, const layer_pair *pair, int64_t c, double t)
{
    pair_layer *first = &found->layers[pair->first];
    pair_layer *second = &found->layers[pair->second];

    first->rows[c] /= t;
    second->inputs[c] *= t;
    first->is_changed = true;
    second->is_changed = true;
}

/* ---- writing ---- */

static spry_status write_weights(const layer_pairs *e, const pair_layer *l, spry_error *error)
{
    graph *g = e->g;
    const weight *w = &l->w;
    tensor *t = arena_zeroed(g->memory, sizeof *t);
    spry_status status;

    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    status = tensor_init(t, SPRY_DTYPE_F32, w->source->rank, w->source->shape, NULL, error);
    if (status != SPRY_OK) {
        return status;
    }
    t->data = arena_bytes(g->memory, t->bytes);
    if (t->data == NULL) {
        return alloc_failed(error, t->bytes);
    }
    for (int64_t m = 0; m < w->outputs; m++) {
        const double *inputs = l->inputs + m / (w->outputs / l->groups) * w->inputs;

        for (int64_t n = 0; n < w->inputs; n++) {
            double factor = l->rows[m] * inputs[n];
            float *to = (float *)t->data + m * w->output_stride + n * w->input_stride;

            for (int64_t tap = 0; tap < w->taps; tap++) {
                to[tap] = (float)((double)weight_at(w, m, n, tap) * factor);
            }
        }
    }
    g->values[w->value].constant = t;
    return SPRY_OK;
}

static spry_status write_bias(layer_pairs *e, int32_t node, spry_error *error)
{
    const pair_layer *l = &e->layers[node];
    double *delta = arena_array(&e->memory, (size_t)l->w.outputs, sizeof *delta);
    int32_t holder;
    int32_t port;
    const tensor *bias = bias_of(e->g, &e->uses, node, l->w.outputs, &holder, &port);

    if (bias == NULL) {
        return SPRY_OK;
    }
    if (delta == NULL) {
        return alloc_failed(error, (size_t)l->w.outputs * sizeof *delta);
    }
    double share = (double)graph_attribute_float(&e->g->nodes[node], "beta", 1.0f);

    for (int64_t m = 0; m < l->w.outputs; m++) {
        delta[m] = share * (double)((const float *)bias->data)[m] * (l->rows[m] - 1.0);
    }
    return bias_add(e->g, &e->uses, node, l->w.outputs, delta, error);
}

static spry_status find_pairs(layer_pairs *e, spry_error *error)
{
    graph *g = e->g;
    size_t nodes = (size_t)g->node_count + 1;
    spry_status status = graph_find_uses(g, &e->memory, &e->uses, error);

    if (status != SPRY_OK) {
        return status;
    }
    e->layers = arena_array(&e->memory, nodes, sizeof *e->layers);
    e->list = arena_array(&e->memory, nodes, sizeof *e->list);
    if (e->layers == NULL || e->list == NULL) {
        return alloc_failed(error, nodes * sizeof *e->layers);
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        if (find_layer(e, i, &e->layers[i]) && !open_layer(e, &e->layers[i])) {
            return alloc_failed(error, (size_t)weight_count(&e->layers[i].w));
        }
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        int32_t next = e->layers[i].w.outputs != 0 ? find_next(e, i) : GRAPH_NONE;

        if (next != GRAPH_NONE) {
            e->list[e->count++] = (layer_pair){i, next};
        }
    }
    return SPRY_OK;
}

spry_status layer_pairs_find(graph *g, layer_pairs *found, spry_error *error)
{
    *found = (layer_pairs){.g = g};
    arena_init(&found->memory, &g->memory->allocator, SIZE_MAX);
    return find_pairs(found, error);
}

void layer_pairs_release(layer_pairs *found)
{
    arena_fini(&found->memory);
}

spry_status layer_pairs_write(layer_pairs *found, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0, count = found->g->node_count; status == SPRY_OK && i < count; i++) {
        if (found->layers[i].is_changed) {
            status = write_weights(found, &found->layers[i], error);
        }
        if (status == SPRY_OK && found->layers[i].is_changed) {
            status = write_bias(found, i, error);
        }
    }
    return status;
}
