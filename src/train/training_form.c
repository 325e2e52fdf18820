/* From inference to training. */
#include "train/training_form.h"

#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "ops/op.h"
#include "train/emit.h"

enum {
    NORM_OPSET = 15,    /* BatchNormalization with the attribute training_mode */
    DROPOUT_OPSET = 13, /* Dropout with the input training_mode */
    NORM_OUTPUTS = 3
};

/* ---- ends of the graph ---- */

static spry_status copy_list(graph *g, const int32_t *from, int32_t count, int32_t **to,
                             spry_error *error)
{
    *to = arena_array(g->memory, (size_t)count + 1, sizeof **to);
    if (*to == NULL) {
        return alloc_failed(error, (size_t)count * sizeof **to);
    }
    memcpy(*to, from, (size_t)count * sizeof **to);
    return SPRY_OK;
}

spry_status training_set_outputs(graph *g, const int32_t *outputs, int32_t count, spry_error *error)
{
    for (int32_t i = 0; i < g->output_count; i++) {
        g->values[g->outputs[i]].is_output = false;
    }
    for (int32_t i = 0; i < count; i++) {
        g->values[outputs[i]].is_output = true;
    }
    g->output_count = count;
    return copy_list(g, outputs, count, &g->outputs, error);
}

spry_status training_set_inputs(graph *g, const int32_t *inputs, int32_t count, spry_error *error)
{
    for (int32_t i = 0; i < g->input_count; i++) {
        g->values[g->inputs[i]].is_input = false;
    }
    for (int32_t i = 0; i < count; i++) {
        graph_value *v = &g->values[inputs[i]];

        if (v->constant != NULL) {
            v->type = graph_type_tensor(v->constant->dtype, v->constant->rank, v->constant->shape);
        }
        v->constant = NULL;
        v->is_input = true;
    }
    g->input_count = count;
    return copy_list(g, inputs, count, &g->inputs, error);
}

/* ---- operators ---- */

/* The logits behind a Softmax that ends the model. */
int32_t training_logits(const graph *g)
{
    int32_t id = g->outputs[0];
    int32_t producer = g->values[id].producer;

    while (producer != GRAPH_NONE) {
        const graph_node *n = &g->nodes[producer];

        if (!graph_node_is(n, "Softmax") && !graph_node_is(n, "LogSoftmax") &&
            !graph_node_is(n, "Identity")) {
            break;
        }
        id = n->inputs[0];
        producer = g->values[id].producer;
    }
    return id;
}

static bool is_one_of(const graph_node *n, const char *const *types)
{
    while (*types != NULL && !graph_node_is(n, *types)) {
        types++;
    }
    return *types != NULL;
}

/* Back from `id`, which becomes what the first node of another type computes. */
static const graph_node *skip_back(const graph *g, int32_t *id, const char *const *types)
{
    int32_t producer = g->values[*id].producer;

    while (producer != GRAPH_NONE && is_one_of(&g->nodes[producer], types)) {
        *id = g->nodes[producer].inputs[0];
        producer = g->values[*id].producer;
    }
    return producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
}

int32_t training_features(const graph *g)
{
    static const char *const shapes[] = {
        "Flatten",     "Reshape",    "Squeeze", "Unsqueeze",         "Dropout", "Identity",
        "AveragePool", "ReduceMean", "Cast",    "GlobalAveragePool", NULL};
    static const char *const sums[] = {"Add", "Identity", NULL};
    static const char *const products[] = {"Gemm", "MatMul", "Conv", NULL};
    int32_t id = training_logits(g);
    const graph_node *n = skip_back(g, &id, shapes);

    if (n != NULL && graph_node_is(n, "Add")) {
        n = skip_back(g, &id, sums);
    }
    if (n == NULL || !is_one_of(n, products)) {
        return GRAPH_NONE;
    }
    id = n->inputs[0];
    (void)skip_back(g, &id, shapes);
    return id;
}

/* The node with other ports and version. */
static spry_status replace_ports(graph *g, int32_t node, int32_t opset, int32_t inputs,
                                 int32_t outputs, spry_error *error)
{
    graph_node *n = &g->nodes[node];
    int32_t *in = arena_array(g->memory, (size_t)inputs, sizeof *in);
    int32_t *out = arena_array(g->memory, (size_t)outputs, sizeof *out);

    if (in == NULL || out == NULL) {
        return alloc_failed(error, (size_t)(inputs + outputs) * sizeof *in);
    }
    for (int32_t i = 0; i < inputs; i++) {
        in[i] = i < n->input_count ? n->inputs[i] : GRAPH_NONE;
    }
    for (int32_t i = 0; i < outputs; i++) {
        out[i] = i < n->output_count ? n->outputs[i] : GRAPH_NONE;
    }
    n->inputs = in;
    n->outputs = out;
    n->input_count = inputs;
    n->output_count = outputs;
    n->opset = opset;
    n->op = op_find(n->domain, n->type, opset);
    return SPRY_OK;
}

static spry_status let_learn(graph *g, int32_t node, int32_t *outputs, int32_t *count,
                             spry_error *error)
{
    spry_status status = replace_ports(
        g, node, g->nodes[node].opset > NORM_OPSET ? g->nodes[node].opset : NORM_OPSET, 5,
        NORM_OUTPUTS, error);

    if (status == SPRY_OK) {
        status = graph_set_int(g, node, "training_mode", 1, error);
    }
    for (int32_t i = 1; i < NORM_OUTPUTS && status == SPRY_OK; i++) {
        int32_t id = GRAPH_NONE;

        status = graph_add_value(g, "running", &id, error);
        if (status == SPRY_OK) {
            graph_set_output(g, node, i, id);
            outputs[(*count)++] = id;
        }
    }
    return status;
}

/* Before operator set 12 the ratio was an attribute; the mode comes with the graph. */
static spry_status let_drop(graph *g, int32_t node, spry_error *error)
{
    emitter e = {.g = g, .name = "dropout", .error = error};
    graph_node *n = &g->nodes[node];
    int32_t ratio = n->opset < 12 || n->input_count < 2 ? GRAPH_NONE : n->inputs[1];
    spry_status status;

    if (ratio == GRAPH_NONE) {
        ratio = emit_number(&e, SPRY_DTYPE_F32,
                            n->opset < 12 ? (double)graph_attribute_float(n, "ratio", 0.5f) : 0.5);
    }
    status = replace_ports(g, node, n->opset > DROPOUT_OPSET ? n->opset : DROPOUT_OPSET, 3,
                           n->output_count, error);
    if (status == SPRY_OK && e.status == SPRY_OK) {
        graph_set_input(g, node, 1, ratio);
        graph_set_input(g, node, 2, emit_number(&e, SPRY_DTYPE_BOOL, 1.0));
    }
    return status == SPRY_OK ? e.status : status;
}

/* ---- the whole ---- */

spry_status training_model(const model *source, model **copy, spry_error *error)
{
    pass_context context = {.inline_all = true};
    spry_status status = model_copy(source, copy, error);

    if (status != SPRY_OK || source->function_count == 0) {
        return status;
    }
    context.m = *copy;
    status = pass_inline((*copy)->main, &context, error);
    if (status != SPRY_OK) {
        spry_model_destroy(*copy);
        *copy = NULL;
    }
    return status;
}

spry_status training_form(model *m, const parameters *statistics, spry_error *error)
{
    graph *g = m->main;
    int32_t nodes = g->node_count;
    int32_t count = 1;
    int32_t *outputs = arena_array(&m->memory, 2 * (size_t)nodes + 1, sizeof *outputs);
    spry_status status = SPRY_OK;

    if (outputs == NULL) {
        return alloc_failed(error, 2 * (size_t)nodes * sizeof *outputs);
    }
    if (g->output_count == 0) {
        return spry_fail(error, SPRY_USAGE, m->path, NULL, "the model has no output to train");
    }
    outputs[0] = training_logits(g);
    for (int32_t i = 0; i < nodes && status == SPRY_OK; i++) {
        const graph_node *n = &g->nodes[i];

        if (n->removed) {
            continue;
        }
        if (statistics != NULL && graph_node_is(n, "BatchNormalization")) {
            status = let_learn(g, i, outputs, &count, error);
        } else if (graph_node_is(n, "Dropout") && n->opset >= 7) {
            status = let_drop(g, i, error);
        }
    }
    return status == SPRY_OK ? training_set_outputs(g, outputs, count, error) : status;
}
