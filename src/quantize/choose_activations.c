/* Integer operators want their inputs quantised; operators that only move numbers pass the wish on
 * to what they read. */
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "quantize/assignment.h"
#include "quantize/choose.h"

typedef struct chooser {
    const graph *g;
    const bool *is_integer;
    int *reads;  /* per node: bits of the integers it may read, 0: f32 */
    int *wanted; /* per value: bits, 0: f32 */
    const graph_uses *uses;
    bool *seen;     /* per node, for one walk */
    int32_t *stack; /* likewise */
} chooser;

static bool is_one_of(const graph_node *n, const char *const *types)
{
    for (; n->domain[0] == '\0' && *types != NULL; types++) {
        if (strcmp(n->type, *types) == 0) {
            return true;
        }
    }
    return false;
}

/* Zero is a number of every grid. */
static bool pads_with_zero(const graph *g, const graph_node *n)
{
    enum { VALUE_PORT = 2 };
    bool is_given = n->input_count > VALUE_PORT && n->inputs[VALUE_PORT] != GRAPH_NONE;
    const tensor *value = is_given ? graph_constant(g, n->inputs[VALUE_PORT]) : NULL;

    return graph_node_is(n, "Pad") &&
           strcmp(graph_attribute_string(n, "mode", "constant"), "constant") == 0 &&
           graph_attribute_float(n, "value", 0.0f) == 0.0f &&
           (!is_given || (value != NULL && value->dtype == SPRY_DTYPE_F32 &&
                          tensor_count(value) == 1 && *(const float *)value->data == 0.0f));
}

static bool only_moves(const graph *g, const graph_node *n)
{
    static const char *const types[] = {"MaxPool",   "Reshape", "Flatten", "Transpose", "Squeeze",
                                        "Unsqueeze", "Slice",   "Split",   NULL};

    return is_one_of(n, types) || pads_with_zero(g, n);
}

/* An f32 value that is computed or given. */
static bool is_activation(const graph *g, int32_t id)
{
    return id != GRAPH_NONE && graph_constant(g, id) == NULL &&
           g->values[id].type.kind == GRAPH_TYPE_TENSOR &&
           g->values[id].type.dtype == SPRY_DTYPE_F32;
}

static bool is_image(const graph *g, int32_t id)
{
    return is_activation(g, id) && g->values[id].type.has_rank && g->values[id].type.rank == 4;
}

/* Sums and joins of images run in integers when all they read is quantised. The sums of a
 * transformer's residual stream, which has outliers, stay f32. */
static bool joins_images(const graph *g, const graph_node *n)
{
    static const char *const types[] = {"Add", "Concat", "AveragePool", "GlobalAveragePool", NULL};

    for (int32_t i = 0; i < n->input_count; i++) {
        if (!is_image(g, n->inputs[i])) {
            return false;
        }
    }
    return is_one_of(n, types);
}

static bool is_product_of_activations(const graph *g, const graph_node *n)
{
    static const char *const types[] = {"MatMul", NULL};

    return is_one_of(n, types) && is_activation(g, n->inputs[0]) && is_activation(g, n->inputs[1]);
}

/* ---- what stands around a node ---- */

static bool is_layer(const graph *g, int32_t node)
{
    const graph_node *n = &g->nodes[node];
    const char *reason;
    weight w;

    return weight_of_node(g, node, &w, &reason) ||
           (n->input_count > 1 && is_product_of_activations(g, n));
}

typedef struct walk {
    const chooser *c;
    int32_t *stack;
    int32_t depth;
    bool found; /* a layer that reads integers */
} walk;

static void step_to(walk *w, int32_t node)
{
    const chooser *c = w->c;

    if (c->seen[node] || c->g->nodes[node].removed) {
        return;
    }
    c->seen[node] = true;
    if (!is_layer(c->g, node)) {
        w->stack[w->depth++] = node;
    } else if (c->reads[node] != 0) {
        w->found = true;
    }
}

static void step_up(walk *w, const graph_node *n)
{
    for (int32_t i = 0; i < n->input_count; i++) {
        int32_t id = n->inputs[i];

        if (id != GRAPH_NONE && w->c->g->values[id].producer != GRAPH_NONE) {
            step_to(w, w->c->g->values[id].producer);
        }
    }
}

static void step_down(walk *w, const graph_node *n)
{
    const graph_uses *uses = w->c->uses;

    for (int32_t i = 0; i < n->output_count; i++) {
        int32_t id = n->outputs[i];

        for (int32_t k = id != GRAPH_NONE ? uses->offsets[id] : 0;
             id != GRAPH_NONE && k < uses->offsets[id + 1]; k++) {
            step_to(w, uses->users[k]);
        }
    }
}

/* Is one of the next layers, before or behind, one of integers? Between layers that stay f32 a sum
 * of integers would only be rounded twice. */
static bool touches_integers(const chooser *c, int32_t node)
{
    walk w = {.c = c, .stack = c->stack};

    for (int way = 0; way < 2 && !w.found; way++) {
        memset(c->seen, 0, (size_t)c->g->node_count * sizeof *c->seen);
        w.stack[w.depth++] = node;
        while (w.depth > 0 && !w.found) {
            const graph_node *n = &c->g->nodes[w.stack[--w.depth]];

            (way == 0 ? step_up : step_down)(&w, n);
        }
        w.depth = 0;
    }
    return w.found;
}

/* ---- wishes ---- */

static void want(chooser *c, int32_t id, int bits)
{
    if (is_activation(c->g, id) && bits > c->wanted[id]) {
        c->wanted[id] = bits;
    }
}

static void ask(chooser *c, int32_t node)
{
    const graph_node *n = &c->g->nodes[node];
    int passed_on =
        only_moves(c->g, n) && n->outputs[0] != GRAPH_NONE ? c->wanted[n->outputs[0]] : 0;

    if (passed_on != 0 || c->is_integer[node]) {
        want(c, n->inputs[0], passed_on != 0 ? passed_on : c->reads[node]);
    } else if (c->reads[node] != 0 && (is_product_of_activations(c->g, n) ||
                                       (joins_images(c->g, n) && touches_integers(c, node)))) {
        for (int32_t i = 0; i < n->input_count; i++) {
            want(c, n->inputs[i], c->reads[node]);
        }
    }
}

const activation_record *job_input_record(const quantize_job *job, int32_t node)
{
    for (int32_t i = 0; i < job->activation_count; i++) {
        if (job->activations[i].value == job->m->main->nodes[node].inputs[0]) {
            return &job->activations[i];
        }
    }
    return NULL;
}

/* The record whose grid the numbers of value `id` have already, or its own. */
static void add(quantize_job *job, int32_t *place, int32_t id, int bits)
{
    const graph *g = job->m->main;
    int32_t producer = g->values[id].producer;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
    activation_record *a = &job->activations[job->activation_count];

    *a = (activation_record){.value = id, .like = job->activation_count, .bits = bits};
    if (n != NULL && only_moves(g, n) && place[n->inputs[0]] >= 0) {
        a->like = job->activations[place[n->inputs[0]]].like;
    }
    place[id] = job->activation_count++;
}

static void add_wanted(quantize_job *job, const int *wanted, int32_t *place)
{
    const graph *g = job->m->main;

    for (int32_t i = 0; i < g->input_count; i++) {
        if (wanted[g->inputs[i]] != 0) {
            add(job, place, g->inputs[i], wanted[g->inputs[i]]);
        }
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        for (int32_t k = 0; !n->removed && k < n->output_count; k++) {
            if (n->outputs[k] != GRAPH_NONE && wanted[n->outputs[k]] != 0) {
                add(job, place, n->outputs[k], wanted[n->outputs[k]]);
            }
        }
    }
}

/* Room for all that is noted of nodes and values. */
static spry_status make_room(quantize_job *job, chooser *c, int32_t **place, spry_error *error)
{
    const graph *g = job->m->main;
    size_t values = (size_t)g->value_count + 1;
    size_t nodes = (size_t)g->node_count + 1;

    c->wanted = arena_array(job->memory, values, sizeof *c->wanted);
    c->reads = arena_array(job->memory, nodes, sizeof *c->reads);
    c->seen = arena_array(job->memory, nodes, sizeof *c->seen);
    c->stack = arena_array(job->memory, nodes, sizeof *c->stack);
    *place = arena_array(job->memory, values, sizeof **place);
    job->activations = arena_array(job->memory, values, sizeof *job->activations);
    if (c->wanted == NULL || c->reads == NULL || c->seen == NULL || c->stack == NULL ||
        *place == NULL || job->activations == NULL) {
        return alloc_failed(error, values * sizeof *job->activations);
    }
    memset(*place, 0xff, values * sizeof **place);
    return SPRY_OK;
}

spry_status choose_activations(quantize_job *job, spry_error *error)
{
    graph *g = job->m->main;
    chooser c = {.g = g, .is_integer = job->is_integer};
    graph_uses uses;
    int32_t *place = NULL;
    spry_status status;

    if (!assignment_wants_activations(job->options)) {
        return SPRY_OK;
    }
    status = infer_graph(g, error);
    if (status == SPRY_OK) {
        status = make_room(job, &c, &place, error);
    }
    if (status == SPRY_OK) {
        status = graph_find_uses(g, job->memory, &uses, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    c.uses = &uses;
    for (int32_t i = 0; i < g->node_count; i++) {
        c.reads[i] = assignment_of(job, &g->nodes[i]).activations;
    }
    for (int32_t i = g->node_count - 1; i >= 0; i--) { /* users first */
        if (!g->nodes[i].removed && g->nodes[i].input_count > 0) {
            ask(&c, i);
        }
    }
    add_wanted(job, c.wanted, place);
    return SPRY_OK;
}
