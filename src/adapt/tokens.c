/* Tracking is done on the graph whose shapes are all known, so that it is arithmetic. */
#include "adapt/tokens.h"

#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"
#include "tensor/convert.h"

typedef struct tracker {
    const graph *g;
    uint8_t *axes;
    int64_t tokens;
} tracker;

static const graph_type *type_of(const graph *g, int32_t id)
{
    return &g->values[id].type;
}

static bool has(const tracker *t, int32_t id, int axis)
{
    return id != GRAPH_NONE && axis >= 0 && (t->axes[id] >> axis & 1U) != 0;
}

static uint8_t bit(int axis)
{
    return (uint8_t)(1U << axis);
}

/* Does the output's axis have as many elements as there are tokens? */
static uint8_t fits(const tracker *t, int32_t id, int axis)
{
    const graph_type *type = type_of(t->g, id);

    return axis >= 0 && axis < type->rank && type->dims[axis].size == t->tokens ? bit(axis) : 0;
}

static int64_t product_of(const graph_type *type, int from, int to)
{
    int64_t product = 1;

    for (int i = from; i < to; i++) {
        product *= type->dims[i].size;
    }
    return product;
}

/* The axis of the output with the same number of elements before it and behind it. */
static uint8_t through_reshape(const tracker *t, const graph_node *n)
{
    const graph_type *from = type_of(t->g, n->inputs[0]);
    const graph_type *to = type_of(t->g, n->outputs[0]);
    uint8_t found = 0;

    for (int i = 0; i < from->rank; i++) {
        for (int k = 0; has(t, n->inputs[0], i) && k < to->rank; k++) {
            if (product_of(from, i + 1, from->rank) == product_of(to, k + 1, to->rank)) {
                found |= fits(t, n->outputs[0], k);
            }
        }
    }
    return found;
}

static uint8_t through_transpose(const tracker *t, const graph_node *n)
{
    int64_t count;
    const int64_t *perm = graph_attribute_ints(n, "perm", &count);
    int rank = type_of(t->g, n->inputs[0])->rank;
    uint8_t found = 0;

    for (int k = 0; k < rank; k++) {
        int from = perm != NULL && count == rank ? (int)perm[k] : rank - 1 - k;

        found |= has(t, n->inputs[0], from) ? fits(t, n->outputs[0], k) : 0;
    }
    return found;
}

static uint8_t through_matmul(const tracker *t, const graph_node *n)
{
    int rank = type_of(t->g, n->outputs[0])->rank;
    int shift_a = rank - type_of(t->g, n->inputs[0])->rank;
    int rank_b = type_of(t->g, n->inputs[1])->rank;
    uint8_t found = 0;

    for (int k = 0; k < rank - 1; k++) { /* batches, and rows of the first factor */
        found |= has(t, n->inputs[0], k - shift_a) ? fits(t, n->outputs[0], k) : 0;
    }
    return found | (has(t, n->inputs[1], rank_b - 1) ? fits(t, n->outputs[0], rank - 1) : 0);
}

/* Gather with one index drops the axis, Gather with a list keeps it. */
static uint8_t through_gather(const tracker *t, const graph_node *n)
{
    int64_t axis = graph_attribute_int(n, "axis", 0);
    int rank = type_of(t->g, n->inputs[0])->rank;
    int grows = type_of(t->g, n->inputs[1])->rank - 1;
    uint8_t found = 0;

    axis += axis < 0 ? rank : 0;
    for (int i = 0; i < rank; i++) {
        if (i != axis && has(t, n->inputs[0], i)) {
            found |= fits(t, n->outputs[0], i < axis ? i : i + grows);
        }
    }
    return found;
}

/* Element by element, or along other axes: axes are counted from the last. */
static uint8_t through_others(const tracker *t, const graph_node *n, int32_t output)
{
    int rank = type_of(t->g, output)->rank;
    uint8_t found = 0;

    for (int32_t p = 0; p < n->input_count; p++) {
        int32_t id = n->inputs[p];
        int shift = id != GRAPH_NONE ? rank - type_of(t->g, id)->rank : 0;

        for (int k = 0; id != GRAPH_NONE && k < rank; k++) {
            found |= has(t, id, k - shift) ? fits(t, output, k) : 0;
        }
    }
    return found;
}

static uint8_t through(const tracker *t, const graph_node *n, int32_t output)
{
    if (type_of(t->g, output)->dtype != SPRY_DTYPE_F32 ||
        !graph_type_is_static(type_of(t->g, output))) {
        return 0;
    }
    if (graph_node_is(n, "Reshape") || graph_node_is(n, "Flatten") || graph_node_is(n, "Squeeze") ||
        graph_node_is(n, "Unsqueeze")) {
        return through_reshape(t, n);
    }
    if (graph_node_is(n, "Transpose")) {
        return through_transpose(t, n);
    }
    if (graph_node_is(n, "MatMul")) {
        return through_matmul(t, n);
    }
    return graph_node_is(n, "Gather") ? through_gather(t, n) : through_others(t, n, output);
}

spry_status tokens_track(const rewrite *job, int32_t start, arena *memory, const uint8_t **axes,
                         spry_error *error)
{
    const graph *g = job->s;
    tracker t = {.g = g, .tokens = g->values[start].type.dims[1].size};

    t.axes = arena_array(memory, (size_t)g->value_count + 1, sizeof *t.axes);
    if (t.axes == NULL) {
        return alloc_failed(error, (size_t)g->value_count);
    }
    t.axes[start] = bit(1);
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        for (int32_t k = 0; !n->removed && k < n->output_count; k++) {
            if (n->outputs[k] != GRAPH_NONE && n->outputs[k] != start) {
                t.axes[n->outputs[k]] = through(&t, n, n->outputs[k]);
            }
        }
    }
    *axes = t.axes;
    return SPRY_OK;
}

/* ---- shapes that are written down ---- */

/* An int64 list with element `index` changed, for input `port` of that node of the file's graph. */
static spry_status replace_element(rewrite *job, int32_t node, int32_t port, const tensor *list,
                                   int64_t index, int64_t number, spry_error *error)
{
    int64_t count = tensor_count(list);
    int64_t *numbers = arena_array(&job->memory, (size_t)count, sizeof *numbers);
    int32_t made;
    spry_status status;

    if (numbers == NULL) {
        return alloc_failed(error, (size_t)count * sizeof *numbers);
    }
    convert_read_i64(list, 0, count, numbers);
    numbers[index] = number;
    status =
        insert_constant(job->g, job->g->values[job->g->nodes[node].inputs[port]].name, "longer",
                        SPRY_DTYPE_I64, list->rank, list->shape, numbers, &made, error);
    if (status == SPRY_OK) {
        graph_set_input(job->g, node, port, made);
    }
    return status;
}

/* The numbers in a constant of the file's graph, or NULL. */
static const tensor *written_list(const graph *g, int32_t id)
{
    int32_t producer = g->values[id].producer;
    const graph_attribute *a =
        producer != GRAPH_NONE && graph_node_is(&g->nodes[producer], "Constant")
            ? graph_attribute_find(&g->nodes[producer], "value")
            : NULL;
    const tensor *t =
        a != NULL && a->kind == GRAPH_ATTRIBUTE_TENSOR ? a->as.tensors : graph_constant(g, id);

    return t != NULL && t->dtype == SPRY_DTYPE_I64 && t->rank <= 1 ? t : NULL;
}

/* Element `index` of what the port reads, where it is a constant or a piece of a Concat that is. */
static spry_status stretch_element(rewrite *job, int32_t node, int32_t port, int64_t index,
                                   int64_t tokens, int64_t longer, spry_error *error)
{
    graph *g = job->g;

    for (int32_t steps = 0; steps < g->node_count; steps++) {
        int32_t id = g->nodes[node].inputs[port];
        const tensor *list = written_list(g, id);
        int32_t producer = g->values[id].producer;
        int32_t piece = 0;

        if (list != NULL) {
            return index < tensor_count(list) && convert_get_i64(list, index) == tokens
                       ? replace_element(job, node, port, list, index, longer, error)
                       : SPRY_OK;
        }
        if (producer == GRAPH_NONE || (!graph_node_is(&g->nodes[producer], "Concat") &&
                                       !graph_node_is(&g->nodes[producer], "Cast") &&
                                       !graph_node_is(&g->nodes[producer], "Unsqueeze") &&
                                       !graph_node_is(&g->nodes[producer], "Identity"))) {
            return SPRY_OK; /* computed: follows by itself */
        }
        while (graph_node_is(&g->nodes[producer], "Concat") &&
               piece < g->nodes[producer].input_count) {
            const tensor *part = rewrite_known(job, g->nodes[producer].inputs[piece]);
            int64_t count = part != NULL ? tensor_count(part) : 1;

            if (index < count) {
                break;
            }
            index -= count;
            piece++;
        }
        if (piece == g->nodes[producer].input_count) {
            return SPRY_OK;
        }
        node = producer;
        port = piece;
    }
    return SPRY_OK;
}

static spry_status stretch_reshape(rewrite *job, const uint8_t *axes, const graph_node *n,
                                   int64_t tokens, int64_t longer, spry_error *error)
{
    int32_t index;
    const graph_node *own = rewrite_node(job, n->outputs[0], &index);
    spry_status status = SPRY_OK;

    for (int axis = 0; status == SPRY_OK && own != NULL && axis < SPRY_TENSOR_MAX_RANK; axis++) {
        if ((axes[n->outputs[0]] >> axis & 1U) != 0) {
            status = stretch_element(job, index, 1, axis, tokens, longer, error);
        }
    }
    return status;
}

spry_status tokens_stretch(rewrite *job, const uint8_t *axes, int32_t start, int32_t end,
                           int64_t longer, spry_error *error)
{
    const graph *s = job->s;
    int64_t tokens = s->values[start].type.dims[1].size;
    int32_t last = end != GRAPH_NONE ? s->values[end].producer : s->node_count - 1;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i <= last; i++) {
        const graph_node *n = &s->nodes[i];

        if (!n->removed && graph_node_is(n, "Reshape") && axes[n->outputs[0]] != 0) {
            status = stretch_reshape(job, axes, n, tokens, longer, error);
        }
    }
    return status;
}
