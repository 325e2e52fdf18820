/* From the result of an attention back to its softmax, and a call in front of that. */
#include "adapt/head_policy.h"

#include <string.h>

#include "adapt/scores.h"
#include "base/alloc.h"
#include "model/head_policy_function.h"
#include "model/insert.h"
#include "ops/head_policy.h"

static spry_status add_numbers(graph *g, const char *base, const char *suffix, int64_t heads,
                               int64_t each, int rank, const int64_t *numbers, int32_t *value,
                               spry_error *error)
{
    const int64_t shape[] = {heads, 1, 1, each};

    return insert_constant(g, base, suffix, SPRY_DTYPE_I64, rank, shape, numbers, value, error);
}

static int64_t reach(const attention_policy *p, int64_t own)
{
    return p->is_dense ? HEAD_POLICY_ALL : own;
}

static spry_status write_call(graph *g, const head_policy_layer *layer, int32_t softmax,
                              arena *memory, spry_error *error)
{
    const graph_node *n = &g->nodes[softmax];
    size_t room = (size_t)layer->heads * (2 + ATTENTION_MOST_SINKS);
    int64_t *before = arena_array(memory, room, sizeof *before);
    insert_node_of call = {.type = HEAD_POLICY_OP,
                           .domain = HEAD_POLICY_DOMAIN,
                           .opset = 1,
                           .base = g->values[n->outputs[0]].name,
                           .suffix = "policy",
                           .inputs = {n->inputs[0]},
                           .input_count = HEAD_POLICY_PORTS};
    int64_t each = 1;
    int32_t node;
    int32_t result;
    spry_status status;

    if (before == NULL) {
        return alloc_failed(error, room * sizeof *before);
    }
    int64_t *after = before + layer->heads;
    int64_t *sinks = after + layer->heads;
    for (int64_t h = 0; h < layer->heads; h++) {
        const attention_policy *p = &layer->policies[h];

        each = !p->is_dense && p->sink_count > each ? p->sink_count : each;
    }
    for (int64_t h = 0; h < layer->heads; h++) {
        const attention_policy *p = &layer->policies[h];

        before[h] = reach(p, p->before);
        after[h] = reach(p, p->after);
        for (int64_t i = 0; i < each; i++) {
            sinks[h * each + i] = !p->is_dense && i < p->sink_count ? p->sinks[i] : -1;
        }
    }
    status = add_numbers(g, call.base, "before", layer->heads, 1, 3, before,
                         &call.inputs[HEAD_POLICY_BEFORE], error);
    if (status == SPRY_OK) {
        status = add_numbers(g, call.base, "after", layer->heads, 1, 3, after,
                             &call.inputs[HEAD_POLICY_AFTER], error);
    }
    if (status == SPRY_OK) {
        status = add_numbers(g, call.base, "sinks", layer->heads, each, 4, sinks,
                             &call.inputs[HEAD_POLICY_SINKS], error);
    }
    if (status == SPRY_OK) {
        status = insert_node(g, &call, &node, &result, error);
    }
    if (status == SPRY_OK) {
        graph_set_input(g, softmax, 0, result);
    }
    return status;
}

static bool has_calls(const graph *g)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        if (strcmp(g->nodes[i].domain, HEAD_POLICY_DOMAIN) == 0 &&
            strcmp(g->nodes[i].type, HEAD_POLICY_OP) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_restricted(const head_policy_layer *layer)
{
    for (int64_t h = 0; h < layer->heads; h++) {
        if (!layer->policies[h].is_dense) {
            return true;
        }
    }
    return false;
}

static spry_status write_layer(model *m, const head_policy_layer *layer, arena *memory,
                               spry_error *error)
{
    graph *g = m->main;
    int32_t softmax = scores_softmax(g, graph_find_value(g, layer->name));

    if (softmax == GRAPH_NONE) {
        return spry_fail(error, SPRY_UNSUPPORTED, layer->name,
                         "export the model with attention as products and a softmax",
                         "no softmax is found behind this attention");
    }
    return write_call(g, layer, softmax, memory, error);
}

spry_status head_policy_write(model *m, const head_policy_layer *layers, int32_t count,
                              spry_error *error)
{
    int64_t opset = model_opset_version(m, "");
    bool any = false;
    arena memory;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < count; i++) {
        any = any || is_restricted(&layers[i]);
    }
    if (!any) {
        return SPRY_OK;
    }
    if (opset < HEAD_POLICY_FUNCTION_OPSET) {
        return spry_fail(error, SPRY_UNSUPPORTED, m->path,
                         "export it with operator set 13 or newer",
                         "the model is of operator set %lld", (long long)opset);
    }
    if (has_calls(m->main)) {
        return spry_fail(error, SPRY_UNSUPPORTED, m->path, "start from the model it was made of",
                         "its heads have policies already");
    }
    arena_init(&memory, &m->allocator, SIZE_MAX);
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        if (is_restricted(&layers[i])) {
            status = write_layer(m, &layers[i], &memory, error);
        }
    }
    arena_fini(&memory);
    status = status == SPRY_OK ? graph_sort(m->main, error) : status;
    return status == SPRY_OK ? head_policy_function_add(m, opset, error) : status;
}
