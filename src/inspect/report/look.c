/* The graph as it is planned, beside the graph as it is written: what was fused into which step,
 * what lives in memory meanwhile, and which step computes which node. */
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "inspect/report/report.h"
#include "inspect/summary.h"
#include "measure/feed.h"
#include "runtime/prepare.h"

enum { LABEL_SIZE = 512, FUSED_SIZE = 256 };

typedef struct looker {
    report *r;
    const graph *planned;
    const graph *written;
    int32_t *layer_of; /* by node of `planned`; -1: none */
} looker;

/* ---- layers ---- */

static spry_status find_layers(looker *k, spry_error *error)
{
    const graph *g = k->planned;
    report *r = k->r;
    int32_t next = 0;

    k->layer_of = arena_array(&r->memory, (size_t)g->node_count + 1, sizeof *k->layer_of);
    if (k->layer_of == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *k->layer_of);
    }
    for (int32_t n = 0; n < g->node_count; n++) {
        char label[LABEL_SIZE];

        (void)graph_node_label(g, &g->nodes[n], label, sizeof label);
        k->layer_of[n] = -1;
        /* Both are in the order of execution, so the next one is nearly always the right one. */
        for (int32_t i = 0; i < r->layer_count; i++) {
            int32_t at = (next + i) % r->layer_count;

            if (strcmp(r->layers[at].row.node, label) == 0) {
                k->layer_of[n] = at;
                next = (at + 1) % r->layer_count;
                break;
            }
        }
    }
    return SPRY_OK;
}

static void find_weights(const looker *k)
{
    const graph *g = k->planned;

    for (int32_t n = 0; n < g->node_count; n++) {
        const graph_node *node = &g->nodes[n];
        report_layer *l = k->layer_of[n] >= 0 ? &k->r->layers[k->layer_of[n]] : NULL;

        if (l == NULL) {
            continue;
        }
        l->weight_bytes = 0;
        for (int32_t i = 0; i < node->input_count; i++) {
            const graph_value *v = node->inputs[i] >= 0 ? &g->values[node->inputs[i]] : NULL;
            int64_t bytes =
                v != NULL && v->constant != NULL ? summary_value_bytes(&v->type) : 0;

            l->weight_bytes += bytes > 0 ? (double)bytes * l->calls : 0.0;
        }
    }
}

static spry_status find_alive(const looker *k, spry_error *error)
{
    int64_t *alive = NULL;
    int64_t all = 0;
    spry_status status = summary_alive_bytes(k->planned, &k->r->memory, &alive, &all, error);

    for (int32_t n = 0; alive != NULL && n < k->planned->node_count; n++) {
        if (k->layer_of[n] >= 0) {
            k->r->layers[k->layer_of[n]].alive_bytes = (double)alive[n];
        }
    }
    return status;
}

/* ---- what is computed where ---- */

/* Is a value of that name still there in the plan? Then what computes it is another step. */
static bool is_planned(const looker *k, const char *name)
{
    int32_t id = graph_find_value(k->planned, name);

    return id != GRAPH_NONE && k->planned->values[id].constant == NULL &&
           (k->planned->values[id].producer != GRAPH_NONE || k->planned->values[id].is_input);
}

/* Gives what computes value `id` of the written graph to `layer`, back to where other steps'
 * results are read. Each node is visited once, so the stack has room. */
static void claim(const looker *k, int32_t id, int32_t layer, int32_t *stack)
{
    const graph *g = k->written;
    int32_t depth = 0;

    stack[depth++] = id;
    while (depth > 0) {
        int32_t producer = g->values[stack[--depth]].producer;

        if (producer == GRAPH_NONE || k->r->node_layer[producer] >= 0) {
            continue;
        }
        k->r->node_layer[producer] = layer;
        for (int32_t i = 0; i < g->nodes[producer].input_count; i++) {
            int32_t input = g->nodes[producer].inputs[i];

            if (input != GRAPH_NONE && g->values[input].constant == NULL &&
                !is_planned(k, g->values[input].name)) {
                stack[depth++] = input;
            }
        }
    }
}

static spry_status claim_nodes(const looker *k, spry_error *error)
{
    const graph *g = k->written;
    report *r = k->r;
    size_t ports = 2;
    int32_t *stack;

    for (int32_t n = 0; n < g->node_count; n++) {
        ports += (size_t)g->nodes[n].input_count;
    }
    stack = arena_array(&r->memory, ports, sizeof *stack);
    r->node_layer = arena_array(&r->memory, (size_t)g->node_count + 1, sizeof *r->node_layer);
    if (r->node_layer == NULL || stack == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *r->node_layer);
    }
    r->node_count = g->node_count;
    for (int32_t n = 0; n < g->node_count; n++) {
        r->node_layer[n] = -1;
    }
    for (int32_t n = 0; n < k->planned->node_count; n++) {
        const graph_node *node = &k->planned->nodes[n];

        for (int32_t i = 0; k->layer_of[n] >= 0 && i < node->output_count; i++) {
            int32_t id = node->outputs[i] != GRAPH_NONE
                             ? graph_find_value(g, k->planned->values[node->outputs[i]].name)
                             : GRAPH_NONE;

            if (id != GRAPH_NONE) {
                claim(k, id, k->layer_of[n], stack);
            }
        }
    }
    return SPRY_OK;
}

/* "Add, Relu": the operators of the layer's nodes but one of its own. */
static spry_status name_fused(const looker *k, int32_t layer, spry_error *error)
{
    report_layer *l = &k->r->layers[layer];
    bool is_own_seen = false;
    char line[FUSED_SIZE];
    text t;

    text_init_fixed(&t, line, sizeof line);
    for (int32_t n = 0; n < k->r->node_count; n++) {
        const char *type = k->written->nodes[n].type;

        if (k->r->node_layer[n] != layer || summary_is_constant_node(&k->written->nodes[n])) {
            continue;
        }
        if (!is_own_seen && strcmp(type, l->row.type) == 0) {
            is_own_seen = true;
            continue;
        }
        text_append_format(&t, "%s%s", t.length > 0 ? ", " : "", type);
    }
    l->fused = arena_text(&k->r->memory, line, t.length);
    return l->fused != NULL ? SPRY_OK : alloc_failed(error, FUSED_SIZE);
}

/* ---- the graphs ---- */

static spry_status inspect_as_fed(report *r, const spry_model *m, const spry_feed *feed,
                                  spry_error *error)
{
    spry_inspect_options options = spry_inspect_options_default();
    int32_t count = spry_feed_dimension_count(feed);
    spry_dimension *sizes = arena_array(&r->memory, (size_t)count + 1, sizeof *sizes);
    spry_status status;

    if (sizes == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *sizes);
    }
    for (int32_t i = 0; i < count; i++) {
        spry_feed_dimension d = spry_feed_dimension_at(feed, i);

        sizes[i] = (spry_dimension){.symbol = d.name, .size = d.size};
    }
    options.allocator = &r->allocator;
    options.dimensions = sizes;
    options.dimension_count = count;
    status = spry_inspect(m, &options, &r->inspection, error);
    if (status == SPRY_USAGE) { /* dimensions without a name are the feed's own */
        options.dimension_count = 0;
        status = spry_inspect(m, &options, &r->inspection, error);
    }
    return status;
}

static spry_status prepare(report *r, const spry_model *m, const spry_feed *feed, graph **g,
                           spry_error *error)
{
    const spry_session_options *options = &r->options.session;
    graph *prepared = NULL;
    const value **inputs;
    spry_status status =
        prepare_graph(m, options, threads_single(), &r->memory, &prepared, error);

    if (status != SPRY_OK) {
        return status;
    }
    inputs = arena_array(&r->memory, (size_t)prepared->input_count + 1, sizeof *inputs);
    if (inputs == NULL) {
        return alloc_failed(error, sizeof *inputs);
    }
    for (int32_t i = 0; i < prepared->input_count; i++) {
        const char *name = prepared->values[prepared->inputs[i]].name;

        inputs[i] = NULL;
        for (int32_t k = 0; k < spry_feed_count(feed); k++) {
            if (strcmp(spry_feed_name(feed, k), name) == 0) {
                inputs[i] = spry_feed_value(feed, k);
            }
        }
    }
    status = prepare_for_inputs(prepared, inputs, options, threads_single(), &r->memory, g, error);
    return status == SPRY_OK && !options->keep_order ? prepare_for_speed(*g, options, error)
                                                     : status;
}

spry_status report_look(report *r, const spry_model *m, const spry_feed *feed,
                        spry_error *error)
{
    graph *planned = NULL;
    looker k = {.r = r};
    spry_status status = inspect_as_fed(r, m, feed, error);

    if (status == SPRY_OK) {
        k.written = r->inspection->g;
        status = prepare(r, m, feed, &planned, error);
    }
    if (status == SPRY_OK) {
        k.planned = planned;
        status = find_layers(&k, error);
    }
    if (status == SPRY_OK) {
        find_weights(&k);
        status = find_alive(&k, error);
    }
    if (status == SPRY_OK) {
        status = claim_nodes(&k, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < r->layer_count; i++) {
        status = name_fused(&k, i, error);
    }
    return status;
}
