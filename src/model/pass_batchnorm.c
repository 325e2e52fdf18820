/* y = (conv(x) - mean) / sqrt(var + eps) * scale + bias is again a convolution: with f = scale /
 * sqrt(var + eps) per output channel, weights become w * f and the bias (b - mean) * f + bias. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "model/pass.h"
#include "model/weights.h"

/* How an operator lays out its weights. */
typedef struct weight_layout {
    int64_t channels; /* output channels */
    int64_t groups;
    int axis;   /* of the weights, along which (within a group) output channels lie */
    float beta; /* what the operator's own bias is multiplied by */
} weight_layout;

typedef struct norm {
    const float *scale;
    const float *bias;
    const float *mean;
    const float *variance;
    double epsilon;
    int64_t channels;
} norm;

static const tensor *f32_input(const graph *g, const graph_node *n, int32_t port)
{
    const tensor *t = port < n->input_count && n->inputs[port] != GRAPH_NONE
                          ? graph_constant(g, n->inputs[port])
                          : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 ? t : NULL;
}

static bool read_norm(const graph *g, const graph_node *n, norm *out)
{
    const tensor *parts[4];
    bool in_training = n->opset >= 14 && graph_attribute_int(n, "training_mode", 0) != 0;

    if (n->removed || n->domain[0] != '\0' || strcmp(n->type, "BatchNormalization") != 0 ||
        n->opset < 7 || in_training || graph_attribute_int(n, "spatial", 1) != 1) {
        return false;
    }
    for (int32_t i = 1; i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE) {
            return false;
        }
    }
    for (int32_t i = 0; i < 4; i++) {
        parts[i] = f32_input(g, n, i + 1);
        if (parts[i] == NULL || parts[i]->rank != 1 || parts[i]->shape[0] != parts[0]->shape[0]) {
            return false;
        }
    }
    *out = (norm){.scale = parts[0]->data,
                  .bias = parts[1]->data,
                  .mean = parts[2]->data,
                  .variance = parts[3]->data,
                  .epsilon = (double)graph_attribute_float(n, "epsilon", 1e-5f),
                  .channels = parts[0]->shape[0]};
    return true;
}

static bool read_layout(const graph_node *n, const tensor *weights, weight_layout *layout)
{
    *layout = (weight_layout){.groups = graph_attribute_int(n, "group", 1), .beta = 1.0f};
    if (n->domain[0] != '\0' || layout->groups < 1) {
        return false;
    }
    if (strcmp(n->type, "Conv") == 0 && weights->rank >= 3) {
        layout->channels = weights->shape[0]; /* groups lie one after the other on this axis */
        layout->groups = 1;
        return true;
    }
    if (strcmp(n->type, "ConvTranspose") == 0 && weights->rank >= 3) {
        layout->axis = 1;
        return weights->shape[0] % layout->groups == 0 &&
               checked_mul_i64(weights->shape[1], layout->groups, &layout->channels);
    }
    if (strcmp(n->type, "Gemm") == 0 && weights->rank == 2) {
        layout->axis = graph_attribute_int(n, "transB", 0) != 0 ? 0 : 1;
        layout->channels = weights->shape[layout->axis];
        layout->beta = graph_attribute_float(n, "beta", 1.0f);
        layout->groups = 1;
        return true;
    }
    return false;
}

static double factor(const norm *bn, int64_t channel)
{
    return (double)bn->scale[channel] / sqrt((double)bn->variance[channel] + bn->epsilon);
}

/* A dense f32 tensor in the graph's arena; NULL when memory ran out. */
static tensor *new_f32(graph *g, int rank, const int64_t *shape)
{
    tensor *t = arena_bytes(g->memory, sizeof *t);

    if (t == NULL || tensor_init(t, SPRY_DTYPE_F32, rank, shape, NULL, NULL) != SPRY_OK) {
        return NULL;
    }
    t->data = arena_bytes(g->memory, t->bytes);
    return t->data != NULL ? t : NULL;
}

static tensor *scaled_weights(graph *g, const tensor *weights, const weight_layout *layout,
                              const norm *bn)
{
    tensor *t = model_weights_hold(g->source, weights, NULL) == SPRY_OK
                    ? new_f32(g, weights->rank, weights->shape)
                    : NULL;
    const float *from = weights->data;
    float *to = t != NULL ? t->data : NULL;
    int64_t outer = tensor_span(weights, 0, layout->axis);
    int64_t per_group = weights->shape[layout->axis];
    int64_t inner = tensor_span(weights, layout->axis + 1, weights->rank);
    int64_t rows = outer / layout->groups; /* input channels of one group */

    for (int64_t i = 0; t != NULL && i < outer * per_group; i++) {
        int64_t group = layout->groups > 1 ? i / per_group / rows : 0;
        double f = factor(bn, group * per_group + i % per_group);

        for (int64_t k = 0; k < inner; k++) {
            to[i * inner + k] = (float)((double)from[i * inner + k] * f);
        }
    }
    if (t != NULL) {
        model_weights_drop(g->source, weights);
    }
    return t;
}

/* The operator's bias for each channel; false when it has another shape. */
static bool bias_fits(const tensor *bias, int64_t channels)
{
    int64_t count = bias != NULL ? tensor_count(bias) : 0;

    if (bias == NULL) {
        return true;
    }
    return count == 1 || (count == channels && bias->shape[bias->rank - 1] == channels);
}

static tensor *shifted_bias(graph *g, const tensor *bias, const weight_layout *layout,
                            const norm *bn)
{
    tensor *t = new_f32(g, 1, &layout->channels);
    const float *old = bias != NULL ? bias->data : NULL;
    bool is_single = bias != NULL && tensor_count(bias) == 1;

    for (int64_t i = 0; t != NULL && i < layout->channels; i++) {
        double b = old != NULL ? (double)layout->beta * (double)old[is_single ? 0 : i] : 0.0;

        ((float *)t->data)[i] =
            (float)((b - (double)bn->mean[i]) * factor(bn, i) + (double)bn->bias[i]);
    }
    return t;
}

/* Puts the new constants into `n`, which may have had no bias. */
static spry_status rewire(graph *g, int32_t node, const tensor *weights, const tensor *bias,
                          spry_error *error)
{
    graph_node *n = &g->nodes[node];
    int32_t *ports = arena_array(g->memory, 3, sizeof *ports);
    int32_t weight_id;
    int32_t bias_id;
    spry_status status;

    if (ports == NULL || weights == NULL || bias == NULL) {
        return alloc_failed(error, 3 * sizeof *ports);
    }
    status = graph_add_constant(g, g->values[n->inputs[1]].name, weights, &weight_id, error);
    if (status == SPRY_OK) {
        status = graph_add_constant(g, NULL, bias, &bias_id, error);
    }
    if (status == SPRY_OK && graph_attribute_find(n, "beta") != NULL) {
        status = graph_set_float(g, node, "beta", 1.0f, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    ports[0] = n->inputs[0];
    ports[1] = weight_id;
    ports[2] = bias_id;
    n->inputs = ports;
    n->input_count = 3;
    return SPRY_OK;
}

/* Does node `user` alone read the result of `n`? */
static bool is_only_user(const graph *g, const graph_uses *uses, const graph_node *n, int32_t user)
{
    int32_t id = n->outputs[0];

    return !g->values[id].is_output && uses->offsets[id + 1] - uses->offsets[id] == 1 &&
           uses->users[uses->offsets[id]] == user;
}

static spry_status fold_norm(graph *g, const graph_uses *uses, int32_t node, pass_context *c,
                             spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    int32_t producer = n->inputs[0] != GRAPH_NONE ? g->values[n->inputs[0]].producer : GRAPH_NONE;
    const graph_node *before = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
    weight_layout layout;
    norm bn;
    const tensor *weights = before != NULL ? f32_input(g, before, 1) : NULL;
    const tensor *bias = before != NULL ? f32_input(g, before, 2) : NULL;
    bool has_bias;
    int32_t result = n->outputs[0];
    spry_status status;

    if (weights == NULL || result == GRAPH_NONE || !read_norm(g, n, &bn) ||
        !read_layout(before, weights, &layout) || !is_only_user(g, uses, before, node)) {
        return SPRY_OK;
    }
    has_bias = before->input_count > 2 && before->inputs[2] != GRAPH_NONE;
    if (layout.channels != bn.channels || has_bias != (bias != NULL) ||
        !bias_fits(bias, layout.channels)) {
        return SPRY_OK;
    }
    status = rewire(g, producer, scaled_weights(g, weights, &layout, &bn),
                    shifted_bias(g, bias, &layout, &bn), error);
    if (status == SPRY_OK) {
        graph_remove_node(g, node);
        graph_set_output(g, producer, 0, result);
        c->changes++;
    }
    return status;
}

spry_status pass_batchnorm(graph *g, pass_context *c, spry_error *error)
{
    arena memory;
    graph_uses uses;
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        if (!g->nodes[i].removed && g->nodes[i].input_count >= 5) {
            status = fold_norm(g, &uses, i, c, error);
        }
    }
    arena_fini(&memory);
    if (status == SPRY_OK) {
        graph_compact(g);
    }
    return status;
}
