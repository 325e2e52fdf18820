/* Finding products, and what their operands come from, by dataflow. */
#include "quantize/layers.h"

#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "model/pass.h"
#include "quantize/assignment.h"
#include "quantize/calibrate/samples.h"

enum { MOST_MOVES = 16 };

static bool is_activation(const graph *g, int32_t id)
{
    return id != GRAPH_NONE && graph_constant(g, id) == NULL &&
           g->values[id].type.kind == GRAPH_TYPE_TENSOR &&
           g->values[id].type.dtype == SPRY_DTYPE_F32;
}

/* A product with weights that are quantised, of which this node is the first user. */
static bool read_linear(const quantize_job *job, int32_t node, layer *l)
{
    const graph_node *n = &job->m->main->nodes[node];
    bool is_gemm = graph_node_is(n, "Gemm");
    const weight_record *r = job->record_of[node];

    if (r == NULL || r->w.node != node || (!is_gemm && !graph_node_is(n, "MatMul")) ||
        !is_activation(job->m->main, n->inputs[0]) ||
        (is_gemm && (graph_attribute_float(n, "alpha", 1.0f) != 1.0f ||
                     graph_attribute_int(n, "transA", 0) != 0))) {
        return false;
    }
    l->weight = (int32_t)(r - job->weights);
    l->k = r->w.inputs;
    l->n = r->w.outputs;
    l->heads = 1;
    return true;
}

/* Heads of the operands, when both have the same number, and it is known. */
static int64_t heads_of(const graph_type *a, const graph_type *b)
{
    return a->rank == 4 && a->dims[1].size > 0 && a->dims[1].size == b->dims[1].size
               ? a->dims[1].size
               : 1;
}

static bool read_product(const quantize_job *job, int32_t node, layer *l)
{
    const graph *g = job->m->main;
    const graph_node *n = &g->nodes[node];
    const graph_type *a;
    const graph_type *b;

    if (!graph_node_is(n, "MatMul") || !is_activation(g, n->inputs[0]) ||
        !is_activation(g, n->inputs[1]) || n->inputs[0] == n->inputs[1]) {
        return false;
    }
    a = &g->values[n->inputs[0]].type;
    b = &g->values[n->inputs[1]].type;
    if (!a->has_rank || !b->has_rank || a->rank != b->rank || (a->rank != 3 && a->rank != 4)) {
        return false;
    }
    l->weight = GRAPH_NONE;
    l->heads = heads_of(a, b);
    return true;
}

static int32_t reader_of(const layers *found, int32_t value)
{
    for (int32_t i = 0; i < found->count; i++) {
        if (found->list[i].a == value) {
            return i;
        }
    }
    return GRAPH_NONE;
}

/* ---- sources ---- */

static bool only_moves(const graph_node *n)
{
    static const char *const types[] = {"Identity",  "Dropout", "Cast",    "Reshape",
                                        "Transpose", "Flatten", "Squeeze", "Unsqueeze"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (graph_node_is(n, types[i])) {
            return true;
        }
    }
    return false;
}

/* The least value of a function whose formula has become an operator; 0 when it has none. */
static float lowest(const graph_node *n)
{
    float alpha = graph_attribute_float(n, "alpha", 1.0f);

    if (graph_node_is(n, "Gelu")) {
        const char *form = graph_attribute_string(n, "approximate", "none");

        return strcmp(form, "tanh") == 0 ? 0.170041f : 0.169971f;
    }
    if (graph_node_is(n, "Swish")) {
        return alpha > 0.0f ? 0.278465f / alpha : 0.0f;
    }
    return graph_node_is(n, "HardSwish") ? 0.375f : 0.0f;
}

static void find_source(const graph *g, int32_t id, layer *l)
{
    for (int i = 0; i < MOST_MOVES; i++) {
        int32_t producer = g->values[id].producer;
        const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

        if (n == NULL) {
            return;
        }
        if (graph_node_is(n, "Softmax")) {
            l->source = LAYER_SOFTMAX;
            return;
        }
        l->low = lowest(n);
        if (l->low > 0.0f) {
            l->source = LAYER_GELU;
            return;
        }
        if (!only_moves(n) || n->inputs[0] == GRAPH_NONE) {
            return;
        }
        id = n->inputs[0];
    }
}

/* Sources show in a copy where formulas have become the operators that they are. */
static spry_status find_sources(const quantize_job *job, layers *found, spry_error *error)
{
    size_t count = (size_t)found->count + 1;
    int32_t *values = arena_array(job->memory, count, sizeof *values);
    int32_t *outputs = arena_array(job->memory, count, sizeof *outputs);
    model *copy = NULL;
    spry_status status;

    if (values == NULL || outputs == NULL) {
        return alloc_failed(error, count * sizeof *values);
    }
    for (int32_t i = 0; i < found->count; i++) {
        values[i] = found->list[i].a;
    }
    status = model_copy(job->m, &copy, error);
    if (status == SPRY_OK) {
        status = samples_expose(copy, values, found->count, outputs, error);
    }
    if (status == SPRY_OK) {
        pass_context context = {.m = copy, .team = job->team};

        status = pass_run_all(copy->main, &context, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < found->count; i++) {
        if (outputs[i] != GRAPH_NONE) {
            find_source(copy->main, copy->main->outputs[outputs[i]], &found->list[i]);
        }
    }
    spry_model_destroy(copy);
    return status;
}

spry_status layers_find(const quantize_job *job, layers *found, spry_error *error)
{
    const graph *g = job->m->main;

    found->count = 0;
    found->list = arena_array(job->memory, (size_t)job->node_count + 1, sizeof *found->list);
    if (found->list == NULL) {
        return alloc_failed(error, (size_t)job->node_count * sizeof *found->list);
    }
    for (int32_t i = 0; i < job->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        layer l = {.node = i};

        l.bits = assignment_of(job, n).activations;
        if (n->removed || n->input_count < 2 || n->outputs[0] == GRAPH_NONE || l.bits == 0 ||
            (!read_linear(job, i, &l) && !read_product(job, i, &l))) {
            continue;
        }
        l.a = n->inputs[0];
        l.b = n->inputs[1];
        l.output = n->outputs[0];
        l.like = reader_of(found, l.a);
        found->list[found->count++] = l;
    }
    return find_sources(job, found, error);
}
