/* Integer operators want their inputs quantised; operators that only move numbers pass the wish on
 * to what they read. */
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "quantize/choose.h"

typedef struct chooser {
    const graph *g;
    const bool *is_integer;
    bool *wanted; /* per value */
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

static bool only_moves(const graph_node *n)
{
    static const char *const types[] = {"MaxPool",   "Reshape", "Flatten", "Transpose", "Squeeze",
                                        "Unsqueeze", "Slice",   "Split",   NULL};

    return is_one_of(n, types);
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

static void want(chooser *c, int32_t id)
{
    if (is_activation(c->g, id)) {
        c->wanted[id] = true;
    }
}

static void ask(chooser *c, int32_t node)
{
    const graph_node *n = &c->g->nodes[node];
    bool passes_on = only_moves(n) && n->outputs[0] != GRAPH_NONE && c->wanted[n->outputs[0]];

    if (c->is_integer[node] || passes_on) {
        want(c, n->inputs[0]);
    } else if (is_product_of_activations(c->g, n) || joins_images(c->g, n)) {
        for (int32_t i = 0; i < n->input_count; i++) {
            want(c, n->inputs[i]);
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
static void add(quantize_job *job, int32_t *place, int32_t id)
{
    const graph *g = job->m->main;
    int32_t producer = g->values[id].producer;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
    activation_record *a = &job->activations[job->activation_count];

    *a = (activation_record){.value = id, .like = job->activation_count};
    if (n != NULL && only_moves(n) && place[n->inputs[0]] >= 0) {
        a->like = job->activations[place[n->inputs[0]]].like;
    }
    place[id] = job->activation_count++;
}

static void add_wanted(quantize_job *job, const bool *wanted, int32_t *place)
{
    const graph *g = job->m->main;

    for (int32_t i = 0; i < g->input_count; i++) {
        if (wanted[g->inputs[i]]) {
            add(job, place, g->inputs[i]);
        }
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        for (int32_t k = 0; !n->removed && k < n->output_count; k++) {
            if (n->outputs[k] != GRAPH_NONE && wanted[n->outputs[k]]) {
                add(job, place, n->outputs[k]);
            }
        }
    }
}

spry_status choose_activations(quantize_job *job, spry_error *error)
{
    graph *g = job->m->main;
    spry_status status = SPRY_OK;

    if (job->options->activation_bits == 0) {
        return SPRY_OK;
    }
    status = infer_graph(g, error);
    if (status != SPRY_OK) {
        return status;
    }
    size_t count = (size_t)g->value_count + 1;
    chooser c = {g, job->is_integer, arena_array(job->memory, count, sizeof *c.wanted)};
    int32_t *place = arena_array(job->memory, count, sizeof *place);

    job->activations = arena_array(job->memory, count, sizeof *job->activations);
    if (c.wanted == NULL || place == NULL || job->activations == NULL) {
        return alloc_failed(error, count * sizeof *place);
    }
    for (int32_t i = g->node_count - 1; i >= 0; i--) { /* users first */
        if (!g->nodes[i].removed && g->nodes[i].input_count > 0) {
            ask(&c, i);
        }
    }
    memset(place, 0xff, count * sizeof *place);
    add_wanted(job, c.wanted, place);
    return SPRY_OK;
}
