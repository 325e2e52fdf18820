/* From the result of an attention back to its softmax and its product, and a call between them. */
#include "adapt/key_filter.h"

#include <string.h>

#include "adapt/scores.h"
#include "base/alloc.h"
#include "model/insert.h"
#include "model/key_filter_function.h"

static bool drops_keys(const key_filter_layer *layer)
{
    for (int64_t h = 0; h < layer->heads; h++) {
        for (int r = 0; r < KEY_FILTER_ROUNDS; r++) {
            if (layer->filters[h].alpha[r] > -1.0) {
                return true;
            }
        }
    }
    return false;
}

static spry_status add_numbers(graph *g, const key_filter_layer *layer, insert_node_of *call,
                               arena *memory, spry_error *error)
{
    const int64_t shape[] = {KEY_FILTER_ROUNDS, layer->heads, 1, 1};
    size_t heads = (size_t)layer->heads;
    float *scale = arena_array(memory, heads, sizeof *scale);
    double *alpha = arena_array(memory, heads * KEY_FILTER_ROUNDS, sizeof *alpha);
    spry_status status;

    if (scale == NULL || alpha == NULL) {
        return alloc_failed(error, heads * sizeof *alpha);
    }
    for (size_t h = 0; h < heads; h++) {
        scale[h] = layer->filters[h].scale;
        for (size_t r = 0; r < KEY_FILTER_ROUNDS; r++) {
            alpha[r * heads + h] = layer->filters[h].alpha[r];
        }
    }
    status = insert_constant(g, call->base, "key_scale", SPRY_DTYPE_F32, 3, shape + 1, scale,
                             &call->inputs[KEY_FILTER_SCALE], error);
    return status == SPRY_OK ? insert_constant(g, call->base, "key_alpha", SPRY_DTYPE_F64, 4, shape,
                                               alpha, &call->inputs[KEY_FILTER_ALPHA], error)
                             : status;
}

static spry_status write_layer(model *m, const key_filter_layer *layer, arena *memory,
                               spry_error *error)
{
    graph *g = m->main;
    int32_t softmax = scores_softmax(g, graph_find_value(g, layer->name));
    int32_t product =
        softmax != GRAPH_NONE ? scores_product(g, g->nodes[softmax].inputs[0]) : GRAPH_NONE;
    insert_node_of call = {.type = KEY_FILTER_OP,
                           .domain = KEY_FILTER_DOMAIN,
                           .opset = 1,
                           .suffix = "filtered",
                           .input_count = KEY_FILTER_PORTS};
    int32_t node;
    int32_t result;
    spry_status status;

    if (product == GRAPH_NONE) {
        return spry_fail(error, SPRY_UNSUPPORTED, layer->name,
                         "export the model with attention as products and a softmax",
                         "no softmax over a product is found behind this attention");
    }
    call.base = g->values[g->nodes[softmax].outputs[0]].name;
    call.inputs[KEY_FILTER_SCORES] = g->nodes[softmax].inputs[0];
    call.inputs[KEY_FILTER_QUERIES] = g->nodes[product].inputs[0];
    call.inputs[KEY_FILTER_KEYS] = g->nodes[product].inputs[1];
    status = add_numbers(g, layer, &call, memory, error);
    status = status == SPRY_OK ? insert_node(g, &call, &node, &result, error) : status;
    if (status == SPRY_OK) {
        graph_set_input(g, softmax, 0, result);
    }
    return status;
}

spry_status key_filter_check(const model *m, spry_error *error)
{
    const graph *g = m->main;

    for (int32_t i = 0; i < g->node_count; i++) {
        if (strcmp(g->nodes[i].domain, KEY_FILTER_DOMAIN) == 0 &&
            strcmp(g->nodes[i].type, KEY_FILTER_OP) == 0) {
            return spry_fail(error, SPRY_UNSUPPORTED, m->path,
                             "start from the model it was made of",
                             "attention filters its keys already");
        }
    }
    return SPRY_OK;
}

spry_status key_filter_write(model *m, const key_filter_layer *layers, int32_t count,
                             spry_error *error)
{
    int64_t opset = model_opset_version(m, "");
    bool any = false;
    arena memory;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < count; i++) {
        any = any || drops_keys(&layers[i]);
    }
    if (!any) {
        return SPRY_OK;
    }
    if (opset < KEY_FILTER_FUNCTION_OPSET) {
        return spry_fail(error, SPRY_UNSUPPORTED, m->path,
                         "export it with operator set 13 or newer",
                         "the model is of operator set %lld", (long long)opset);
    }
    status = key_filter_check(m, error);
    arena_init(&memory, &m->allocator, SIZE_MAX);
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        if (drops_keys(&layers[i])) {
            status = write_layer(m, &layers[i], &memory, error);
        }
    }
    arena_fini(&memory);
    status = status == SPRY_OK ? graph_sort(m->main, error) : status;
    return status == SPRY_OK ? key_filter_function_add(m, opset, error) : status;
}
