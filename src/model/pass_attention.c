/* Attention and MultiHeadAttention of com.microsoft as standard operators: projections, biases and
 * masks become nodes of their own, which run as fast as any, and the rest becomes Attention. */
#include <string.h>

#include "base/alloc.h"
#include "model/match.h"
#include "model/pass.h"
#include "ops/op.h"

#define MICROSOFT "com.microsoft"

enum { OPSET = 23, MOST_PORTS = 4 };

/* Ports of the two operators, in the same order: those that come before the masks differ. */
typedef struct ports {
    int32_t bias, mask, scores; /* bias of projections, hidden keys, bias of scores */
    int32_t rest[2];            /* caches: must be omitted */
    int32_t last;               /* beyond: must be omitted */
} ports;

static const ports projected_ports = {2, 3, 5, {4, 6}, 7};
static const ports multi_head_ports = {3, 4, 5, {6, 7}, 8};

/* Nodes are added until something fails. */
typedef struct maker {
    graph *g;
    spry_error *error;
    spry_status status;
} maker;

/* The result of a new node; GRAPH_NONE when that failed. */
static int32_t add_node(maker *m, const char *type, int32_t a, int32_t b, int32_t *node)
{
    int32_t id = GRAPH_NONE;
    int32_t made = GRAPH_NONE;

    if (m->status == SPRY_OK) {
        m->status =
            graph_add_node(m->g, type, "", OPSET, b != GRAPH_NONE ? 2 : 1, 1, &made, m->error);
    }
    if (m->status == SPRY_OK) {
        m->status = graph_add_value(m->g, NULL, &id, m->error);
    }
    if (m->status != SPRY_OK) {
        return GRAPH_NONE;
    }
    m->g->nodes[made].op = op_find("", type, OPSET);
    graph_set_input(m->g, made, 0, a);
    if (b != GRAPH_NONE) {
        graph_set_input(m->g, made, 1, b);
    }
    graph_set_output(m->g, made, 0, id);
    if (node != NULL) {
        *node = made;
    }
    return id;
}

/* A constant of f32 (no axis) or of i64 (one axis). */
static int32_t add_constant(maker *m, spry_dtype dtype, int64_t count, const void *data)
{
    tensor *t = arena_bytes(m->g->memory, sizeof *t);
    int32_t id = GRAPH_NONE;

    if (m->status != SPRY_OK) {
        return GRAPH_NONE;
    }
    if (t == NULL) {
        m->status = alloc_failed(m->error, sizeof *t);
        return GRAPH_NONE;
    }
    m->status = tensor_init(t, dtype, dtype == SPRY_DTYPE_I64, &count, NULL, m->error);
    if (m->status == SPRY_OK) {
        t->data = arena_bytes(m->g->memory, t->bytes);
        m->status = t->data != NULL ? SPRY_OK : alloc_failed(m->error, t->bytes);
    }
    if (m->status == SPRY_OK) {
        memcpy(t->data, data, t->bytes);
        m->status = graph_add_constant(m->g, NULL, t, &id, m->error);
    }
    return id;
}

/* Three pieces of the last axis. */
static void add_split(maker *m, int32_t from, const int64_t *widths, int32_t *parts)
{
    int32_t sizes = add_constant(m, SPRY_DTYPE_I64, 3, widths);
    int32_t made = GRAPH_NONE;

    if (m->status == SPRY_OK) {
        m->status = graph_add_node(m->g, "Split", "", OPSET, 2, 3, &made, m->error);
    }
    if (m->status == SPRY_OK) {
        m->g->nodes[made].op = op_find("", "Split", OPSET);
        graph_set_input(m->g, made, 0, from);
        graph_set_input(m->g, made, 1, sizes);
        m->status = graph_set_int(m->g, made, "axis", -1, m->error);
    }
    for (int i = 0; i < 3 && m->status == SPRY_OK; i++) {
        m->status = graph_add_value(m->g, NULL, &parts[i], m->error);
        if (m->status == SPRY_OK) {
            graph_set_output(m->g, made, i, parts[i]);
        }
    }
}

/* What flags per key add to the scores: (1 - mask) * filter as [batch, 1, 1, keys]. */
static int32_t add_mask(maker *m, int32_t flags, float filter)
{
    const float one = 1.0f;
    const int64_t axes[2] = {1, 2};
    int32_t node = GRAPH_NONE;
    int32_t id = add_node(m, "Cast", flags, GRAPH_NONE, &node);

    if (m->status == SPRY_OK) {
        m->status = graph_set_int(m->g, node, "to", 1, m->error); /* TensorProto.FLOAT */
    }
    id = add_node(m, "Sub", add_constant(m, SPRY_DTYPE_F32, 1, &one), id, NULL);
    id = add_node(m, "Mul", id, add_constant(m, SPRY_DTYPE_F32, 1, &filter), NULL);
    return add_node(m, "Unsqueeze", id, add_constant(m, SPRY_DTYPE_I64, 2, axes), NULL);
}

static int32_t port(const graph_node *n, int32_t i)
{
    return i < n->input_count ? n->inputs[i] : GRAPH_NONE;
}

/* The last size of a tensor of f32 with three axes, or -1. */
static int64_t width_of(const graph *g, int32_t id)
{
    const graph_type *type = id != GRAPH_NONE ? &g->values[id].type : NULL;

    return match_is_f32(g, id) && type->rank == 3 ? type->dims[2].size : -1;
}

static bool mask_is_plain(const graph *g, int32_t id)
{
    const graph_type *type = id != GRAPH_NONE ? &g->values[id].type : NULL;

    return type == NULL || (type->kind == GRAPH_TYPE_TENSOR && type->has_rank && type->rank == 2);
}

/* Nothing is asked of it that standard nodes do not do. */
static bool is_plain(const graph *g, const graph_node *n, const ports *p)
{
    const graph_type *scores =
        port(n, p->scores) != GRAPH_NONE ? &g->values[port(n, p->scores)].type : NULL;

    for (int32_t i = 1; i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE) {
            return false;
        }
    }
    return port(n, p->rest[0]) == GRAPH_NONE && port(n, p->rest[1]) == GRAPH_NONE &&
           n->input_count <= p->last && mask_is_plain(g, port(n, p->mask)) &&
           (scores == NULL || (match_is_f32(g, port(n, p->scores)) && scores->rank == 4)) &&
           graph_attribute_int(n, "num_heads", 0) > 0 &&
           graph_attribute_int(n, "do_rotary", 0) == 0 &&
           graph_attribute_int(n, "past_present_share_buffer", 0) == 0;
}

/* Widths of queries, keys and values; false where the operator is not to be taken apart. */
static bool read_widths(const graph *g, const graph_node *n, bool is_projected, int64_t *widths)
{
    int64_t count = 0;
    const int64_t *given = graph_attribute_ints(n, "qkv_hidden_sizes", &count);
    int32_t weights = port(n, 1);
    int64_t columns;

    if (!is_projected) {
        for (int i = 0; i < 3; i++) {
            widths[i] = width_of(g, port(n, i));
        }
        return widths[0] > 0 && widths[1] > 0 && widths[2] > 0;
    }
    if (width_of(g, port(n, 0)) < 1 || !match_is_f32(g, weights) ||
        g->values[weights].type.rank != 2) {
        return false;
    }
    columns = g->values[weights].type.dims[1].size;
    for (int i = 0; i < 3; i++) {
        widths[i] = count == 3 ? given[i] : columns / 3;
    }
    return widths[0] > 0 && widths[1] > 0 && widths[2] > 0 && widths[0] < columns &&
           widths[1] < columns - widths[0] && widths[2] == columns - widths[0] - widths[1];
}

/* Queries, keys and values with their bias. */
static void add_operands(maker *m, const int32_t *inputs, bool is_projected, int32_t bias,
                         const int64_t *widths, int32_t *parts)
{
    int32_t biases[3];

    if (is_projected) {
        int32_t all = add_node(m, "MatMul", inputs[0], inputs[1], NULL);

        all = bias != GRAPH_NONE ? add_node(m, "Add", all, bias, NULL) : all;
        add_split(m, all, widths, parts);
        return;
    }
    memcpy(parts, inputs, 3 * sizeof *parts);
    if (bias != GRAPH_NONE) {
        add_split(m, bias, widths, biases);
        for (int i = 0; i < 3; i++) {
            parts[i] = add_node(m, "Add", parts[i], biases[i], NULL);
        }
    }
}

static spry_status take_apart(graph *g, int32_t node, bool is_projected, const int64_t *widths,
                              spry_error *error)
{
    const ports *p = is_projected ? &projected_ports : &multi_head_ports;
    graph_node n = g->nodes[node]; /* the array moves when nodes are added */
    maker m = {.g = g, .error = error, .status = SPRY_OK};
    int64_t heads = graph_attribute_int(&n, "num_heads", 0);
    int64_t is_causal = graph_attribute_int(&n, "unidirectional", 0);
    float scale = graph_attribute_float(&n, "scale", 0.0f);
    float filter = graph_attribute_float(&n, "mask_filter_value", -10000.0f);
    int32_t mask = port(&n, p->mask);
    int32_t inputs[MOST_PORTS];

    add_operands(&m, n.inputs, is_projected, port(&n, p->bias), widths, inputs);
    inputs[3] = mask != GRAPH_NONE ? add_mask(&m, mask, filter) : GRAPH_NONE;
    if (port(&n, p->scores) != GRAPH_NONE) {
        inputs[3] = inputs[3] == GRAPH_NONE
                        ? port(&n, p->scores)
                        : add_node(&m, "Add", inputs[3], port(&n, p->scores), NULL);
    }
    if (m.status == SPRY_OK) {
        g->nodes[node].domain = "";
        m.status = match_become(g, node, "Attention", OPSET,
                                inputs[3] != GRAPH_NONE ? MOST_PORTS : 3, inputs, error);
    }
    if (m.status == SPRY_OK) {
        g->nodes[node].output_count = 1;
        m.status = graph_set_int(g, node, "q_num_heads", heads, error);
    }
    if (m.status == SPRY_OK) {
        m.status = graph_set_int(g, node, "kv_num_heads", heads, error);
    }
    if (m.status == SPRY_OK) {
        m.status = graph_set_int(g, node, "is_causal", is_causal != 0, error);
    }
    return m.status == SPRY_OK && scale != 0.0f ? graph_set_float(g, node, "scale", scale, error)
                                                : m.status;
}

spry_status pass_attention(graph *g, pass_context *c, spry_error *error)
{
    int32_t count = g->node_count;
    int64_t before = c->changes;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        const graph_node *n = &g->nodes[i];
        bool is_projected = strcmp(n->type, "Attention") == 0;
        int64_t widths[3];

        if (n->removed || strcmp(n->domain, MICROSOFT) != 0 ||
            !(is_projected || strcmp(n->type, "MultiHeadAttention") == 0) ||
            !is_plain(g, n, is_projected ? &projected_ports : &multi_head_ports) ||
            !read_widths(g, n, is_projected, widths)) {
            continue;
        }
        status = take_apart(g, i, is_projected, widths, error);
        c->changes++;
    }
    return status == SPRY_OK && c->changes != before ? graph_sort(g, error) : status;
}
