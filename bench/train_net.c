/* Networks from a file or built here, made ready for training. */
#include "train_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "model/pass.h"
#include "model/weights.h"
#include "spry/random.h"
#include "train/emit.h"
#include "train/gradient/gradient.h"

enum { MOST_PORTS = 1024, IR_VERSION = 8, CLASSES = 10 };

static const char *const mode_names[TRAIN_NET_MODES] = {"inference", "forward", "step", "biases"};

train_net_mode train_net_parse_mode(const char *text)
{
    int mode = 0;

    while (mode < TRAIN_NET_MODES && strcmp(mode_names[mode], text) != 0) {
        mode++;
    }
    return (train_net_mode)mode;
}

/* ---- networks ---- */

/* A network being written, and what its next layers are given. */
typedef struct writer {
    emitter e;
    uint64_t stream; /* of random numbers */
    bool in_training;
} writer;

static int32_t add_input(graph *g, const char *name, const graph_type *type)
{
    int32_t id = GRAPH_NONE;

    if (graph_add_value(g, name, &id, NULL) == SPRY_OK) {
        g->values[id].type = *type;
        g->values[id].is_input = true;
        g->inputs[g->input_count++] = id;
    }
    return id;
}

/* Nodes are called by their kind and a number from here on: reports tell them apart. */
static int32_t layer(writer *w, const char *type, int32_t count, const int32_t *inputs)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s%d", type, (int)w->e.g->node_count);
    w->e.name = graph_text(w->e.g, name);
    return emit_node(&w->e, type, count, inputs);
}

static int32_t unary(writer *w, const char *type, int32_t x)
{
    return layer(w, type, 1, &x);
}

/* Weights whose squares sum to about two per result, or equal numbers where `fan` is 0. */
static int32_t weights(writer *w, int rank, const int64_t *shape, int64_t fan, float number)
{
    spry_random r = spry_random_stream(1, w->stream++);
    tensor *t = arena_zeroed(w->e.g->memory, sizeof *t);
    int32_t id = GRAPH_NONE;

    if (t == NULL || tensor_init(t, SPRY_DTYPE_F32, rank, shape, NULL, NULL) != SPRY_OK) {
        w->e.status = SPRY_LIMIT;
        return id;
    }
    t->data = arena_bytes(w->e.g->memory, t->bytes + 1);
    if (t->data == NULL) {
        w->e.status = SPRY_LIMIT;
        return id;
    }
    for (int64_t i = 0; fan == 0 && i < tensor_count(t); i++) {
        ((float *)t->data)[i] = number;
    }
    if (fan > 0) {
        spry_random_fill_normal(&r, t->data, (size_t)tensor_count(t), 0.0f,
                                sqrtf(2.0f / (float)fan));
    }
    w->e.status = graph_add_constant(w->e.g, "weight", t, &id, w->e.error);
    return id;
}

static int32_t conv(writer *w, int32_t x, int64_t channels, int64_t filters, int64_t kernel,
                    int64_t stride, int64_t pad)
{
    int64_t shape[4] = {filters, channels, kernel, kernel};
    int32_t inputs[2] = {x, weights(w, 4, shape, channels * kernel * kernel, 0.0f)};
    int32_t y = layer(w, "Conv", 2, inputs);

    emit_set_ints(&w->e, y, "kernel_shape", 2, (const int64_t[]){kernel, kernel});
    emit_set_ints(&w->e, y, "strides", 2, (const int64_t[]){stride, stride});
    emit_set_ints(&w->e, y, "pads", 4, (const int64_t[]){pad, pad, pad, pad});
    return y;
}

static int32_t norm(writer *w, int32_t x, int64_t channels)
{
    int32_t inputs[5] = {x, 0, 0, 0, 0};
    int32_t outputs[3];
    char name[64];

    (void)snprintf(name, sizeof name, "BatchNormalization%d", (int)w->e.g->node_count);
    w->e.name = graph_text(w->e.g, name);
    for (int i = 1; i < 5; i++) {
        inputs[i] = weights(w, 1, &channels, 0, i == 1 || i == 4 ? 1.0f : 0.0f);
    }
    emit_many(&w->e, "BatchNormalization", 5, inputs, w->in_training ? 3 : 1, outputs);
    emit_set_int(&w->e, outputs[0], "training_mode", w->in_training);
    return outputs[0];
}

static int32_t block(writer *w, int32_t x, int64_t channels, int64_t filters, int64_t stride)
{
    int32_t y = unary(w, "Relu", norm(w, conv(w, x, channels, filters, 3, stride, 1), filters));

    y = norm(w, conv(w, y, filters, filters, 3, 1, 1), filters);
    if (channels != filters) {
        x = norm(w, conv(w, x, channels, filters, 1, stride, 0), filters);
    }
    return unary(w, "Relu", layer(w, "Add", 2, (const int32_t[]){y, x}));
}

static int32_t dense(writer *w, int32_t x, int64_t from, int64_t to)
{
    return layer(w, "Gemm", 3,
                 (const int32_t[]){x, weights(w, 2, (const int64_t[]){from, to}, from, 0.0f),
                                   weights(w, 1, &to, 0, 0.0f)});
}

/* He and others' network of 20 layers for CIFAR (arXiv 1512.03385), shortcuts by projection. */
static int32_t write_resnet20(writer *w, int32_t x)
{
    int64_t channels = 16;

    x = unary(w, "Relu", norm(w, conv(w, x, 3, channels, 3, 1, 1), channels));
    for (int64_t filters = 16; filters <= 64; filters *= 2) {
        for (int i = 0; i < 3; i++) {
            x = block(w, x, channels, filters, filters > channels ? 2 : 1);
            channels = filters;
        }
    }
    x = unary(w, "Flatten", unary(w, "GlobalAveragePool", x));
    return dense(w, x, channels, CLASSES);
}

static int32_t max_pool(writer *w, int32_t x)
{
    int32_t y = unary(w, "MaxPool", x);

    emit_set_ints(&w->e, y, "kernel_shape", 2, (const int64_t[]){2, 2});
    emit_set_ints(&w->e, y, "strides", 2, (const int64_t[]){2, 2});
    return y;
}

static int32_t write_lenet(writer *w, int32_t x)
{
    x = max_pool(w, unary(w, "Relu", conv(w, x, 1, 16, 5, 1, 2)));
    x = max_pool(w, unary(w, "Relu", conv(w, x, 16, 32, 5, 1, 0)));
    x = unary(w, "Relu", dense(w, unary(w, "Flatten", x), 800, 128));
    return dense(w, x, 128, CLASSES);
}

typedef struct network {
    const char *name;
    int64_t channels, side;
    int32_t (*write)(writer *w, int32_t x);
} network;

static const network networks[] = {{"resnet20", 3, 32, write_resnet20},
                                   {"lenet", 1, 28, write_lenet}};

static spry_status write_network(train_net *t, const network *n, int64_t batch, bool in_training,
                                 spry_error *error)
{
    graph_type image =
        graph_type_tensor(SPRY_DTYPE_F32, 4, (int64_t[]){batch, n->channels, n->side, n->side});
    writer w = {.e = {.name = n->name, .error = error}, .in_training = in_training};
    spry_status status;

    t->own =
        (spry_model){.allocator = alloc_resolve(NULL), .path = n->name, .ir_version = IR_VERSION};
    t->m = &t->own;
    status = graph_create(&t->memory, NULL, &t->g, error);
    if (status != SPRY_OK) {
        return status;
    }
    t->own.main = t->g;
    t->g->inputs = arena_array(&t->memory, MOST_PORTS, sizeof(int32_t));
    t->g->outputs = arena_array(&t->memory, MOST_PORTS, sizeof(int32_t));
    w.e.g = t->g;
    t->scores = n->write(&w, add_input(t->g, "image", &image));
    return w.e.status;
}

/* ---- files ---- */

/* Types but those of inputs and constants are those of the batch in the file: forgotten. */
static void set_batch(graph *g, int64_t batch)
{
    for (int32_t i = 0; i < g->value_count; i++) {
        graph_value *v = &g->values[i];

        if (v->is_input && v->constant == NULL && v->type.rank > 0) {
            v->type.dims[0] = (graph_dim){.size = batch};
        } else if (v->constant == NULL) {
            v->type = (graph_type){.kind = GRAPH_TYPE_UNKNOWN};
        }
    }
}

static spry_status open_file(train_net *t, const char *path, int64_t batch, spry_error *error)
{
    spry_status status = spry_model_load(NULL, path, &t->source, error);
    int32_t *inputs;

    if (status == SPRY_OK) {
        status = model_weights_hold_all(t->source, error);
    }
    if (status == SPRY_OK) {
        status = model_copy(t->source, &t->copy, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    t->m = t->copy;
    t->g = t->copy->main;
    inputs = arena_array(t->g->memory, MOST_PORTS, sizeof *inputs);
    memcpy(inputs, t->g->inputs, (size_t)t->g->input_count * sizeof *inputs);
    t->g->inputs = inputs;
    t->scores = t->g->outputs[0];
    t->g->outputs = arena_array(t->g->memory, MOST_PORTS, sizeof(int32_t));
    t->g->output_count = 0;
    set_batch(t->g, batch);
    return SPRY_OK;
}

/* ---- training ---- */

static bool is_read(const graph *g, int32_t id)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        for (int32_t k = 0; !g->nodes[i].removed && k < g->nodes[i].input_count; k++) {
            if (g->nodes[i].inputs[k] == id) {
                return true;
            }
        }
    }
    return false;
}

/* Numbers that a step changes: not single ones, which are parts of formulas. */
static bool is_trained(const graph *g, int32_t id, train_net_mode mode)
{
    const tensor *t = g->values[id].constant;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank > 0 && tensor_count(t) > 1 &&
           (mode != TRAIN_NET_BIASES || t->rank == 1) && is_read(g, id);
}

static void add_output(graph *g, int32_t id)
{
    g->values[id].is_output = true;
    g->outputs[g->output_count++] = id;
}

/* The loss, and inputs for the targets and the weights in `of`. */
static spry_status add_loss(train_net *t, int64_t batch, train_net_mode mode, int32_t *of,
                            int32_t *loss, spry_error *error)
{
    graph *g = t->g;
    graph_type targets = graph_type_tensor(SPRY_DTYPE_I64, 1, &batch);
    emitter e = {.g = g, .name = "loss", .error = error};
    int32_t pair[2] = {t->scores, add_input(g, "targets", &targets)};
    int32_t values = g->value_count;

    for (int32_t i = 0; i < values && g->input_count < MOST_PORTS; i++) {
        if (is_trained(g, i, mode)) {
            g->values[i].type = graph_type_tensor(SPRY_DTYPE_F32, g->values[i].constant->rank,
                                                  g->values[i].constant->shape);
            g->inputs[g->input_count++] = i;
            g->values[i].is_input = true;
            of[t->trained++] = i;
        }
    }
    *loss = emit_node(&e, "SoftmaxCrossEntropyLoss", 2, pair);
    return e.status;
}

static spry_status make_ready(train_net *t, int64_t batch, train_net_mode mode, spry_error *error)
{
    graph *g = t->g;
    pass_context context = {.m = t->m};
    int32_t of[MOST_PORTS];
    int32_t gradients[MOST_PORTS];
    gradient_request request = {.seed = GRAPH_NONE, .of = of};
    spry_status status;

    add_output(g, t->scores);
    status = pass_run_all(g, &context, error);
    t->scores = g->outputs[0];
    if (status != SPRY_OK || mode == TRAIN_NET_INFERENCE) {
        return status;
    }
    g->output_count = 0;
    g->values[t->scores].is_output = false;
    status = add_loss(t, batch, mode, of, &request.value, error);
    if (status == SPRY_OK) {
        status = infer_graph(g, error);
    }
    request.count = t->trained;
    if (status == SPRY_OK && mode != TRAIN_NET_FORWARD) {
        status = gradient_build(g, &request, gradients, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    add_output(g, request.value);
    for (int32_t i = 0; mode != TRAIN_NET_FORWARD && i < t->trained; i++) {
        if (gradients[i] != GRAPH_NONE) {
            add_output(g, gradients[i]);
        }
    }
    status = graph_sort(g, error);
    return status == SPRY_OK ? infer_graph(g, error) : status;
}

/* Images of normal numbers, targets in turn; weights as they are, which are inputs from here on. */
static spry_status fill_inputs(train_net *t, spry_error *error)
{
    graph *g = t->g;

    t->inputs = arena_array(&t->memory, MOST_PORTS, sizeof *t->inputs);
    for (int32_t i = 0; i < g->input_count; i++) {
        graph_value *v = &g->values[g->inputs[i]];
        value *given = &t->inputs[i];
        spry_random r = spry_random_stream(2, (uint64_t)i);
        int64_t shape[SPRY_TENSOR_MAX_RANK];
        spry_status status;

        *given = (value){.kind = SPRY_VALUE_TENSOR};
        if (v->constant != NULL) {
            given->tensor = *v->constant;
            v->constant = NULL;
            continue;
        }
        for (int d = 0; d < v->type.rank; d++) {
            shape[d] = v->type.dims[d].size;
        }
        status = tensor_init(&given->tensor, v->type.dtype, v->type.rank, shape, NULL, error);
        if (status != SPRY_OK) {
            return status;
        }
        given->tensor.data = arena_zeroed(&t->memory, given->tensor.bytes + 1);
        if (given->tensor.data == NULL) {
            return alloc_failed(error, given->tensor.bytes);
        }
        if (v->type.dtype == SPRY_DTYPE_F32) {
            spry_random_fill_normal(&r, given->tensor.data, (size_t)tensor_count(&given->tensor),
                                    0.0f, 1.0f);
        } else {
            for (int64_t k = 0; k < tensor_count(&given->tensor); k++) {
                ((int64_t *)given->tensor.data)[k] = k % CLASSES;
            }
        }
    }
    return SPRY_OK;
}

bool train_net_build(train_net *t, const char *name, int64_t batch, train_net_mode mode,
                     spry_error *error)
{
    const network *found = NULL;
    spry_status status;

    *t = (train_net){.m = NULL};
    arena_init(&t->memory, NULL, SIZE_MAX);
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        found = strcmp(networks[i].name, name) == 0 ? &networks[i] : found;
    }
    status = found != NULL ? write_network(t, found, batch, mode != TRAIN_NET_INFERENCE, error)
                           : open_file(t, name, batch, error);
    if (status == SPRY_OK) {
        status = make_ready(t, batch, mode, error);
    }
    if (status == SPRY_OK) {
        status = fill_inputs(t, error);
    }
    return status == SPRY_OK;
}

void train_net_release(train_net *t)
{
    spry_model_destroy(t->copy);
    spry_model_destroy(t->source);
    arena_fini(&t->memory);
}
