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
            int64_t bytes = v != NULL && v->constant != NULL ? summary_value_bytes(&v->type) : 0;

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

/* ---- what is computed where ----
 *
 * Nodes that keep their name in the plan are certain. What the plan has a name of a result of, back
 * to other results that it names, is certain, too. Of the rest, which layouts have renamed, sums
 * and activations run at the end of what gives them, and what multiplies, or reads codes, at the
 * beginning of what reads it. */

/* Is a value of that name still there in the plan? Then what computes it is another step. */
static bool is_planned(const looker *k, const char *name)
{
    int32_t id = graph_find_value(k->planned, name);

    return id != GRAPH_NONE && k->planned->values[id].constant == NULL &&
           (k->planned->values[id].producer != GRAPH_NONE || k->planned->values[id].is_input);
}

/* Nodes that compute shapes, and constants, run once for all, before. */
static bool is_run(const graph *g, int32_t n)
{
    const graph_node *node = &g->nodes[n];
    const graph_type *type =
        node->output_count > 0 && node->outputs[0] >= 0 ? &g->values[node->outputs[0]].type : NULL;

    return !summary_is_constant_node(node) && strcmp(node->type, "Shape") != 0 &&
           !(type != NULL && type->kind == GRAPH_TYPE_TENSOR && type->dtype == SPRY_DTYPE_I64 &&
             type->has_rank && type->rank < 2);
}

static void name_nodes(const looker *k)
{
    const graph *g = k->written;
    report *r = k->r;
    int32_t next = 0;

    for (int32_t n = 0; n < g->node_count; n++) {
        r->node_layer[n] = -1;
        for (int32_t i = 0; g->nodes[n].name[0] != '\0' && i < r->layer_count; i++) {
            int32_t at = (next + i) % r->layer_count;

            if (strcmp(r->layers[at].name, g->nodes[n].name) == 0) {
                r->node_layer[n] = at;
                next = (at + 1) % r->layer_count;
                break;
            }
        }
    }
}

/* Gives what computes value `id` of the written graph to `layer`, back to where other steps'
 * results are read. `seen` has the layer that has passed a node last. */
static void claim(const looker *k, int32_t id, int32_t layer, int32_t *stack, int32_t *seen)
{
    const graph *g = k->written;
    int32_t depth = 0;

    stack[depth++] = id;
    while (depth > 0) {
        int32_t n = g->values[stack[--depth]].producer;

        if (n == GRAPH_NONE || seen[n] == layer || !is_run(g, n) ||
            (k->r->node_layer[n] >= 0 && k->r->node_layer[n] != layer)) {
            continue;
        }
        seen[n] = layer;
        k->r->node_layer[n] = layer;
        for (int32_t i = 0; i < g->nodes[n].input_count; i++) {
            int32_t input = g->nodes[n].inputs[i];

            if (input != GRAPH_NONE && g->values[input].constant == NULL &&
                !is_planned(k, g->values[input].name)) {
                stack[depth++] = input;
            }
        }
    }
}

/* Did a layout put the node in? Then it computes nothing that is written. */
static bool is_put_in(const looker *k, const graph_node *node, int32_t written)
{
    int32_t producer = k->written->values[written].producer;

    return strcmp(node->type, "Transpose") == 0 &&
           (producer == GRAPH_NONE || strcmp(k->written->nodes[producer].type, node->type) != 0);
}

static void claim_all(const looker *k, int32_t *stack, int32_t *seen)
{
    for (int32_t n = 0; n < k->written->node_count; n++) {
        seen[n] = -1;
    }
    for (int32_t n = 0; n < k->planned->node_count; n++) {
        const graph_node *node = &k->planned->nodes[n];

        for (int32_t i = 0; k->layer_of[n] >= 0 && i < node->output_count; i++) {
            int32_t id =
                node->outputs[i] != GRAPH_NONE
                    ? graph_find_value(k->written, k->planned->values[node->outputs[i]].name)
                    : GRAPH_NONE;

            if (id != GRAPH_NONE && !is_put_in(k, node, id)) {
                claim(k, id, k->layer_of[n], stack, seen);
            }
        }
    }
}

/* Lowest layer that reads what node `n` gives, `reader` being that by value; -1: none. */
static int32_t reader_of(const graph *g, int32_t n, const int32_t *reader)
{
    int32_t found = -1;

    for (int32_t i = 0; i < g->nodes[n].output_count; i++) {
        int32_t id = g->nodes[n].outputs[i];
        int32_t layer = id != GRAPH_NONE ? reader[id] : -1;

        found = layer >= 0 && (found < 0 || layer < found) ? layer : found;
    }
    return found;
}

static void find_readers(const looker *k, int32_t *reader)
{
    const graph *g = k->written;

    for (int32_t v = 0; v < g->value_count; v++) {
        reader[v] = -1;
    }
    for (int32_t n = g->node_count - 1; n >= 0; n--) {
        int32_t layer = k->r->node_layer[n] >= 0 ? k->r->node_layer[n] : reader_of(g, n, reader);

        for (int32_t i = 0; layer >= 0 && i < g->nodes[n].input_count; i++) {
            int32_t id = g->nodes[n].inputs[i];

            if (id != GRAPH_NONE && (reader[id] < 0 || layer < reader[id])) {
                reader[id] = layer;
            }
        }
    }
}

/* The layer that ran last of those that give node `n` its inputs; -1: none. */
static int32_t giver_of(const looker *k, int32_t n)
{
    const graph_node *node = &k->written->nodes[n];
    int32_t found = -1;

    for (int32_t i = 0; i < node->input_count; i++) {
        int32_t producer =
            node->inputs[i] != GRAPH_NONE ? k->written->values[node->inputs[i]].producer : -1;
        int32_t layer = producer >= 0 ? k->r->node_layer[producer] : -1;

        found = layer > found ? layer : found;
    }
    return found;
}

static void place_rest(const looker *k, const int32_t *reader)
{
    const graph *g = k->written;

    for (int32_t n = 0; n < g->node_count; n++) {
        bool begins = k->r->inspection->nodes[n].macs > 0 ||
                      strcmp(g->nodes[n].type, "DequantizeLinear") == 0;
        int32_t layer = begins ? -1 : giver_of(k, n);

        if (k->r->node_layer[n] < 0 && is_run(g, n)) {
            k->r->node_layer[n] = layer >= 0 ? layer : reader_of(g, n, reader);
        }
    }
}

static spry_status place_nodes(const looker *k, spry_error *error)
{
    const graph *g = k->written;
    report *r = k->r;
    size_t nodes = (size_t)g->node_count + 1;
    size_t ports = (size_t)g->value_count + 2; /* also room for all reads */
    int32_t *stack;
    int32_t *seen = arena_array(&r->memory, nodes, sizeof *seen);

    for (int32_t n = 0; n < g->node_count; n++) {
        ports += (size_t)g->nodes[n].input_count;
    }
    stack = arena_array(&r->memory, ports, sizeof *stack);
    r->node_layer = arena_array(&r->memory, nodes, sizeof *r->node_layer);
    if (r->node_layer == NULL || stack == NULL || seen == NULL) {
        return alloc_failed(error, nodes * sizeof *r->node_layer);
    }
    r->node_count = g->node_count;
    name_nodes(k);
    claim_all(k, stack, seen);
    find_readers(k, stack);
    place_rest(k, stack);
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
        if (!is_own_seen && (l->name[0] != '\0' ? strcmp(k->written->nodes[n].name, l->name) == 0
                                                : strcmp(type, l->row.type) == 0)) {
            is_own_seen = true;
            continue;
        }
        if (strcmp(type, "QuantizeLinear") != 0 && strcmp(type, "DequantizeLinear") != 0 &&
            strcmp(type, "Identity") != 0) {
            text_append_format(&t, "%s%s", t.length > 0 ? ", " : "", type);
        }
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
    spry_status status = prepare_graph(m, options, threads_single(), &r->memory, &prepared, error);

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

spry_status report_look(report *r, const spry_model *m, const spry_feed *feed, spry_error *error)
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
        status = place_nodes(&k, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < r->layer_count; i++) {
        status = name_fused(&k, i, error);
    }
    return status;
}
