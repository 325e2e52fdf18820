/* Making the intermediate results of a model visible as outputs of a copy. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/model.h"
#include "spry/compare.h"

static bool is_computed(const graph *g, int32_t id)
{
    const graph_value *v = &g->values[id];

    return v->producer != GRAPH_NONE && v->constant == NULL && !v->is_output &&
           v->type.kind != GRAPH_TYPE_SEQUENCE && v->type.kind != GRAPH_TYPE_OPTIONAL &&
           v->type.kind != GRAPH_TYPE_OTHER;
}

/* ---- names behind roundings ---- */

/* What quantizers append to the name of a value that was rounded. */
static const char *const suffixes[] = {"_dequantized", "_DequantizeLinear_Output",
                                       "_DequantizeLinear", "_dequantize", "_dq"};

enum { SUFFIXES = sizeof suffixes / sizeof suffixes[0], NAME_SIZE = 1024 };

static bool is_node(const graph *g, int32_t node, const char *type)
{
    return node != GRAPH_NONE && !g->nodes[node].removed && g->nodes[node].domain[0] == '\0' &&
           strcmp(g->nodes[node].type, type) == 0;
}

/* The value called `name`, or what a quantizer has made of it; GRAPH_NONE when there is neither. */
static int32_t find_twin(const graph *g, const char *name)
{
    int32_t id = graph_find_value(g, name);
    char longer[NAME_SIZE];

    for (int i = 0; id == GRAPH_NONE && i < SUFFIXES; i++) {
        (void)snprintf(longer, sizeof longer, "%s%s", name, suffixes[i]);
        id = graph_find_value(g, longer);
        id = id != GRAPH_NONE && is_node(g, g->values[id].producer, "DequantizeLinear")
                 ? id
                 : GRAPH_NONE;
    }
    return id;
}

static bool has_suffix(const char *name, const char *suffix, char *base)
{
    size_t length = strlen(name);
    size_t end = strlen(suffix);

    if (length <= end || length >= NAME_SIZE || strcmp(name + length - end, suffix) != 0) {
        return false;
    }
    memcpy(base, name, length - end);
    base[length - end] = '\0';
    return true;
}

/* Result `id` of a DequantizeLinear takes over the name of the value that was rounded, so that its
 * rounding and clipping count where they happen. */
static spry_status name_rounded(graph *g, int32_t node, spry_error *error)
{
    int32_t id = g->nodes[node].outputs[0];
    int32_t codes = g->nodes[node].inputs[0];
    int32_t producer = codes != GRAPH_NONE ? g->values[codes].producer : GRAPH_NONE;
    char base[NAME_SIZE];

    if (g->values[id].is_output) {
        return SPRY_OK;
    }
    for (int i = 0; i < SUFFIXES; i++) {
        int32_t made = GRAPH_NONE;

        if (has_suffix(g->values[id].name, suffixes[i], base) &&
            graph_find_value(g, base) == GRAPH_NONE) {
            spry_status status = graph_add_value(g, base, &made, error);

            if (status == SPRY_OK) {
                graph_swap_names(g, made, id);
            }
            return status;
        }
    }
    if (is_node(g, producer, "QuantizeLinear")) {
        int32_t before = g->nodes[producer].inputs[0];

        if (is_computed(g, before)) {
            graph_swap_names(g, before, id);
        }
    }
    return SPRY_OK;
}

static spry_status name_all_rounded(graph *g, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = g->node_count - 1; status == SPRY_OK && i >= 0; i--) {
        if (is_node(g, i, "DequantizeLinear")) {
            status = name_rounded(g, i, error);
        }
    }
    return status;
}

bool spry_model_is_quantized(const spry_model *m)
{
    for (int32_t i = 0; i < m->main->node_count; i++) {
        if (is_node(m->main, i, "DequantizeLinear") || is_node(m->main, i, "MatMulInteger") ||
            is_node(m->main, i, "ConvInteger") || is_node(m->main, i, "QLinearConv") ||
            is_node(m->main, i, "QLinearMatMul")) {
            return true;
        }
    }
    return false;
}

const char *spry_model_find_layer(const spry_model *m, const char *name, char *label, size_t size)
{
    static const char *const layers[] = {"Conv", "ConvTranspose", "Gemm", "MatMul"};
    const graph *g = m->main;
    int32_t id = find_twin(g, name);

    while (id != GRAPH_NONE && g->values[id].producer != GRAPH_NONE) {
        const graph_node *n = &g->nodes[g->values[id].producer];

        for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
            if (strcmp(n->type, layers[i]) == 0) {
                return graph_node_label(g, n, label, size);
            }
        }
        id = n->input_count > 0 ? n->inputs[0] : GRAPH_NONE;
    }
    return NULL;
}

/* ---- outputs ---- */

/* Is it computed there as well, as output or in between? */
static bool is_shared(const graph *other, const char *name)
{
    int32_t id = find_twin(other, name);

    return id != GRAPH_NONE && (is_computed(other, id) || other->values[id].is_output) &&
           other->values[id].producer != GRAPH_NONE;
}

static spry_status expose(model *made, const graph *other, spry_error *error)
{
    graph *g = made->main;
    size_t most = (size_t)g->output_count + (size_t)g->value_count;
    int32_t *outputs;
    int32_t count = 0;
    spry_status status = name_all_rounded(g, error);

    if (status != SPRY_OK) {
        return status;
    }
    most += (size_t)g->value_count;
    outputs = arena_array(&made->memory, most, sizeof *outputs);

    if (outputs == NULL) {
        return alloc_failed(error, most * sizeof *outputs);
    }
    for (; count < g->output_count; count++) {
        outputs[count] = g->outputs[count];
    }
    for (int32_t n = 0; n < g->node_count; n++) {
        const graph_node *node = &g->nodes[n];
        for (int32_t i = 0; i < node->output_count; i++) {
            int32_t id = node->outputs[i];
            if (id != GRAPH_NONE && is_computed(g, id) && is_shared(other, g->values[id].name)) {
                g->values[id].is_output = true;
                outputs[count++] = id;
            }
        }
    }
    g->outputs = outputs;
    g->output_count = count;
    return SPRY_OK;
}

spry_status spry_model_expose(const spry_model *source, const spry_model *other,
                              spry_model **exposed, spry_error *error)
{
    model *made = NULL;
    spry_status status = model_copy(source, &made, error);

    *exposed = NULL;
    if (status == SPRY_OK) {
        status = expose(made, other->main, error);
    }
    if (status != SPRY_OK) {
        spry_model_destroy(made);
        return status;
    }
    *exposed = made;
    return SPRY_OK;
}
