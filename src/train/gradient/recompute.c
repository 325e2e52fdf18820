/* Copies of cheap nodes in front of what reads them in the backward pass. */
#include "train/gradient/recompute.h"

#include <string.h>

#include "base/alloc.h"

enum { MOST_BEFORE = 2 }; /* nodes in a row that are repeated for one */

typedef struct repeater {
    graph *g;
    graph_uses uses;
    int32_t nodes;    /* before any was added */
    int32_t border;   /* the last node of the forward pass */
    int32_t *instead; /* per value of the graph before: what the backward pass reads */
    spry_error *error;
} repeater;

static bool is_cheap(const graph_node *n)
{
    static const char *const types[] = {"Relu",
                                        "LeakyRelu",
                                        "Clip",
                                        "Elu",
                                        "Selu",
                                        "Gelu",
                                        "Sigmoid",
                                        "Tanh",
                                        "HardSwish",
                                        "HardSigmoid",
                                        "Softplus",
                                        "Swish",
                                        "QuickGelu",
                                        "LayerNormalization",
                                        "BatchNormalization"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(n->type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The first user behind the border; `nodes` where there is none. */
static int32_t first_behind(const repeater *r, int32_t value)
{
    int32_t first = r->nodes;

    for (int32_t i = r->uses.offsets[value]; i < r->uses.offsets[value + 1]; i++) {
        int32_t user = r->uses.users[i];

        first = user > r->border && user < first ? user : first;
    }
    return first;
}

/* Until which node is the value there? */
static int32_t lives_until(const repeater *r, int32_t value)
{
    const graph_value *v = &r->g->values[value];
    int32_t last = v->is_input || v->is_output || v->constant != NULL ? INT32_MAX : -1;

    for (int32_t i = r->uses.offsets[value]; i < r->uses.offsets[value + 1]; i++) {
        last = r->uses.users[i] > last ? r->uses.users[i] : last;
    }
    return last;
}

/* The forward node that computes the value as its first output, if it is a cheap one. */
static int32_t cheap_producer(const repeater *r, int32_t value)
{
    int32_t node = r->g->values[value].producer;

    return node >= 0 && node < r->border && is_cheap(&r->g->nodes[node]) &&
                   r->g->nodes[node].outputs[0] == value
               ? node
               : GRAPH_NONE;
}

/* Can all inputs of the node be had at `time`, by at most `depth` cheap nodes before it? */
static bool has_inputs(const repeater *r, int32_t node, int32_t time, int depth)
{
    const graph_node *n = &r->g->nodes[node];

    for (int32_t i = 0; i < n->input_count; i++) {
        int32_t producer;

        if (n->inputs[i] == GRAPH_NONE || lives_until(r, n->inputs[i]) >= time) {
            continue;
        }
        producer = cheap_producer(r, n->inputs[i]);
        if (depth == 0 || producer == GRAPH_NONE || !has_inputs(r, producer, time, depth - 1)) {
            return false;
        }
    }
    return true;
}

static spry_status add_copy(repeater *r, int32_t node)
{
    graph *g = r->g;
    int32_t from = g->nodes[node].outputs[0];
    int32_t inputs = g->nodes[node].input_count;
    int32_t to = GRAPH_NONE;
    int32_t id = GRAPH_NONE;
    graph_node *copy;
    spry_status status = graph_add_value(g, g->values[from].name, &to, r->error);

    if (status == SPRY_OK) {
        status = graph_add_node(g, g->nodes[node].type, g->nodes[node].domain, g->nodes[node].opset,
                                inputs, 1, &id, r->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    copy = &g->nodes[id];
    copy->name = g->nodes[node].name;
    copy->op = g->nodes[node].op;
    copy->attributes = g->nodes[node].attributes;
    copy->attribute_count = g->nodes[node].attribute_count;
    for (int32_t i = 0; i < inputs; i++) {
        int32_t input = g->nodes[node].inputs[i];

        graph_set_input(g, id, i, input != GRAPH_NONE ? r->instead[input] : GRAPH_NONE);
    }
    graph_set_output(g, id, 0, to);
    g->values[to].type = g->values[from].type;
    r->instead[from] = to;
    return SPRY_OK;
}

/* The node again, to be read from `time` on, behind those that its inputs need. */
static spry_status repeat(repeater *r, int32_t node, int32_t time, int32_t *repeated)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < r->g->nodes[node].input_count && status == SPRY_OK; i++) {
        int32_t input = r->g->nodes[node].inputs[i];

        if (input != GRAPH_NONE && r->instead[input] == input && lives_until(r, input) < time) {
            status = repeat(r, cheap_producer(r, input), time, repeated);
        }
    }
    *repeated += 1;
    return status == SPRY_OK ? add_copy(r, node) : status;
}

/* From when on the backward pass reads the result of the node; `nodes` where it does not, or where
 * it is better kept. */
static int32_t wanted_from(const repeater *r, int32_t node)
{
    const graph_node *n = &r->g->nodes[node];
    int32_t value = n->output_count > 0 ? n->outputs[0] : GRAPH_NONE;
    int32_t time;

    if (n->removed || value == GRAPH_NONE || cheap_producer(r, value) != node ||
        r->g->values[value].is_output || r->instead[value] != value) {
        return r->nodes;
    }
    time = first_behind(r, value);
    return has_inputs(r, node, time, MOST_BEFORE) ? time : r->nodes;
}

/* What the backward pass reads. */
static void redirect(const repeater *r)
{
    for (int32_t i = r->border + 1; i < r->nodes; i++) {
        const graph_node *n = &r->g->nodes[i];

        for (int32_t k = 0; k < n->input_count; k++) {
            if (n->inputs[k] != GRAPH_NONE) {
                graph_set_input(r->g, i, k, r->instead[n->inputs[k]]);
            }
        }
    }
}

spry_status recompute_activations(graph *g, int32_t loss, int32_t *repeated, spry_error *error)
{
    repeater r = {
        .g = g, .nodes = g->node_count, .border = g->values[loss].producer, .error = error};
    int32_t values = g->value_count;
    arena memory;
    spry_status status;

    *repeated = 0;
    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    r.instead = arena_array(&memory, (size_t)values + 1, sizeof *r.instead);
    status = r.instead != NULL ? graph_find_uses(g, &memory, &r.uses, error)
                               : alloc_failed(error, (size_t)values * sizeof *r.instead);
    for (int32_t i = 0; i < values && status == SPRY_OK; i++) {
        r.instead[i] = i;
    }
    for (int32_t i = 0; i < r.border && status == SPRY_OK; i++) {
        int32_t time = wanted_from(&r, i);

        if (time < r.nodes) {
            status = repeat(&r, i, time, repeated);
        }
    }
    if (status == SPRY_OK) {
        redirect(&r);
        status = graph_sort(g, error); /* a copy goes to the front of its first reader */
    }
    arena_fini(&memory);
    return status;
}
