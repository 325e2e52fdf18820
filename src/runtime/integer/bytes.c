/* What a QuantizeLinear makes of dequantised bytes: functions of one number become a table of 256
 * results, filled by the operators themselves; rows that are normalised are read and written as
 * bytes; a Concat is put together from bytes. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/chain.h"
#include "runtime/integer/match.h"
#include "tensor/convert.h"

enum { MOST_CHAIN = 16 };

/* The nodes between a DequantizeLinear and the QuantizeLinear at the end, last first. */
typedef struct byte_chain {
    int32_t nodes[MOST_CHAIN];
    int32_t ports[MOST_CHAIN]; /* which input is the chain's */
    int count;
    int32_t first; /* the DequantizeLinear */
    quantised x;
} byte_chain;

/* ---- tables ---- */

static bool is_single_f32(const graph *g, int32_t id)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && tensor_count(t) == 1 && t->rank <= 1;
}

/* The input of a function of one number, or GRAPH_NONE. Other inputs are single constants. */
static int32_t argument_of(const graph *g, const graph_node *n, int32_t *port)
{
    static const char *const functions[] = {"Abs",
                                            "Add",
                                            "Ceil",
                                            "Celu",
                                            "Clip",
                                            "Div",
                                            "Elu",
                                            "Erf",
                                            "Exp",
                                            "Floor",
                                            "Gelu",
                                            "HardSigmoid",
                                            "HardSwish",
                                            "LeakyRelu",
                                            "Log",
                                            "Mish",
                                            "Mul",
                                            "Neg",
                                            "Pow",
                                            "Reciprocal",
                                            "Relu",
                                            "Round",
                                            "Selu",
                                            "Sigmoid",
                                            "Softplus",
                                            "Softsign",
                                            "Sqrt",
                                            "Sub",
                                            "Swish",
                                            "Tanh",
                                            "ThresholdedRelu"};
    bool known = false;
    int computed = 0;

    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        known = known || graph_node_is(n, functions[i]);
    }
    if (!known || n->output_count != 1 || n->outputs[0] == GRAPH_NONE) {
        return GRAPH_NONE;
    }
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] != GRAPH_NONE && !is_single_f32(g, n->inputs[i])) {
            computed++;
            *port = i;
        }
    }
    return computed == 1 ? n->inputs[*port] : GRAPH_NONE;
}

/* Follows functions of one number from `id` back to bytes. */
static bool follow_functions(const graph *g, int32_t id, byte_chain *c)
{
    c->count = 0;
    while (!integer_read_activation(g, id, &c->x)) {
        int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;

        if (producer == GRAPH_NONE || c->count == MOST_CHAIN) {
            return false;
        }
        id = argument_of(g, &g->nodes[producer], &c->ports[c->count]);
        if (id == GRAPH_NONE) {
            return false;
        }
        c->nodes[c->count++] = producer;
    }
    c->first = g->values[id].producer;
    return true;
}

/* All bytes of a type, in the order of their unsigned codes. */
static spry_status add_all_bytes(integer_pass *p, spry_dtype dtype, int32_t *id)
{
    static const int64_t count = 256;
    tensor *t = arena_bytes(p->g->memory, sizeof *t);
    uint8_t *codes = arena_bytes(p->g->memory, (size_t)count);
    spry_status status;

    if (t == NULL || codes == NULL) {
        return alloc_failed(p->error, (size_t)count);
    }
    for (int i = 0; i < count; i++) {
        codes[i] = (uint8_t)i;
    }
    status = tensor_init(t, dtype, 1, &count, codes, p->error);
    return status == SPRY_OK ? graph_add_constant(p->g, NULL, t, id, p->error) : status;
}

/* A node like `like` that reads *id at `port`; *id becomes its result, 256 of `dtype`. */
static spry_status add_like(integer_pass *p, int32_t like, int32_t port, spry_dtype dtype,
                            int32_t *id)
{
    static const int64_t count = 256;
    graph *g = p->g;
    graph_node n = g->nodes[like];
    int32_t result;
    int32_t node;
    spry_status status = graph_add_value(g, NULL, &result, p->error);

    if (status == SPRY_OK) {
        status = graph_add_node(g, n.type, n.domain, n.opset, n.input_count, 1, &node, p->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    g->values[result].type = graph_type_tensor(dtype, 1, &count);
    g->nodes[node].op = n.op;
    for (int32_t i = 0; i < n.input_count; i++) {
        graph_set_input(g, node, i, i == port ? *id : n.inputs[i]);
    }
    graph_set_output(g, node, 0, result);
    for (int32_t i = 0; status == SPRY_OK && i < n.attribute_count; i++) {
        status = graph_set_attribute(g, node, &n.attributes[i], p->error);
    }
    *id = result;
    return status;
}

/* The QuantizeLinear's results for all bytes, by the operators of the chain: folded later. */
static spry_status add_table(integer_pass *p, const byte_chain *c, int32_t node, int32_t *table)
{
    spry_dtype dtype = p->g->values[p->g->nodes[node].outputs[0]].type.dtype;
    spry_status status = add_all_bytes(p, p->g->values[c->x.data].type.dtype, table);

    if (status == SPRY_OK) {
        status = add_like(p, c->first, 0, SPRY_DTYPE_F32, table);
    }
    for (int i = c->count - 1; status == SPRY_OK && i >= 0; i--) {
        status = add_like(p, c->nodes[i], c->ports[i], SPRY_DTYPE_F32, table);
    }
    return status == SPRY_OK ? add_like(p, node, 0, dtype, table) : status;
}

/* Makes the QuantizeLinear an integer node with these ports, as far as they are given. */
static spry_status become(integer_pass *p, int32_t node, const char *type, const int32_t *ports,
                          int32_t count)
{
    graph_node *n = &p->g->nodes[node];
    int32_t *copy = arena_array(p->g->memory, (size_t)count, sizeof *copy);

    if (copy == NULL) {
        return alloc_failed(p->error, (size_t)count * sizeof *copy);
    }
    memcpy(copy, ports, (size_t)count * sizeof *copy);
    n->type = type;
    n->domain = INTEGER_DOMAIN;
    n->op = &integer_op;
    n->inputs = copy;
    n->input_count = count;
    return SPRY_OK;
}

static bool same_constant(const graph *g, int32_t a, int32_t b)
{
    const tensor *x = a != GRAPH_NONE ? graph_constant(g, a) : NULL;
    const tensor *y = b != GRAPH_NONE ? graph_constant(g, b) : NULL;

    return x != NULL && y != NULL && x->dtype == y->dtype && x->bytes == y->bytes &&
           memcmp(x->data, y->data, x->bytes) == 0;
}

/* The same numbers come back: the clean-up passes cancel that. */
static bool is_undone(const graph *g, const byte_chain *c, const graph_node *q)
{
    return c->count == 0 && same_constant(g, c->x.scale, q->inputs[1]) &&
           same_constant(g, c->x.zero, chain_input(q, 2));
}

static spry_status make_table(integer_pass *p, const byte_chain *c, int32_t node)
{
    int32_t ports[2] = {c->x.data, GRAPH_NONE};
    spry_status status;

    if (is_undone(p->g, c, &p->g->nodes[node])) {
        return SPRY_OK;
    }
    status = add_table(p, c, node, &ports[1]);
    return status == SPRY_OK ? become(p, node, INTEGER_TABLE, ports, 2) : status;
}

/* ---- rows ---- */

/* A node that normalises the last axis of dequantised bytes. */
typedef struct byte_rows {
    int32_t node;
    quantised x;
    float factor; /* of the numbers before they are normalised */
} byte_rows;

static bool is_last_axis(const graph *g, const graph_node *n)
{
    const graph_type *type = &g->values[n->inputs[0]].type;
    bool is_softmax = graph_node_is(n, "Softmax");
    int64_t axis = graph_attribute_int(n, "axis", is_softmax && n->opset < 13 ? 1 : -1);

    return graph_type_is_static(type) && type->rank > 0 && (axis == -1 || axis == type->rank - 1);
}

static bool is_row(const graph *g, int32_t id, int64_t size)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return id == GRAPH_NONE || (t != NULL && t->dtype == SPRY_DTYPE_F32 && tensor_count(t) == size);
}

static bool is_normalisation(const graph *g, const graph_node *n)
{
    const graph_type *type;

    if (n->inputs[0] == GRAPH_NONE || !is_last_axis(g, n)) {
        return false;
    }
    type = &g->values[n->inputs[0]].type;
    if (graph_node_is(n, "Softmax")) {
        return true;
    }
    return graph_node_is(n, "LayerNormalization") && n->output_count == 1 &&
           is_row(g, chain_input(n, 1), type->dims[type->rank - 1].size) &&
           is_row(g, chain_input(n, 2), type->dims[type->rank - 1].size);
}

/* Takes in a multiplication by one number that stands between. */
static int32_t take_factor(const integer_pass *p, int32_t id, float *factor)
{
    const graph *g = p->g;
    int32_t producer = g->values[id].producer;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

    *factor = 1.0f;
    if (n == NULL || !(graph_node_is(n, "Mul") || graph_node_is(n, "Div")) ||
        integer_only_user(p, id) == GRAPH_NONE) {
        return id;
    }
    for (int32_t i = 0; i < 2; i++) {
        if (is_single_f32(g, n->inputs[i]) && (graph_node_is(n, "Mul") || i == 1)) {
            float c = *(const float *)graph_constant(g, n->inputs[i])->data;

            *factor = graph_node_is(n, "Mul") ? c : 1.0f / c;
            return n->inputs[1 - i];
        }
    }
    return id;
}

static bool match_rows(const integer_pass *p, int32_t node, byte_rows *r)
{
    const graph *g = p->g;
    int32_t id = g->nodes[node].inputs[0];
    const graph_node *n;

    r->node = g->values[id].producer;
    n = r->node != GRAPH_NONE ? &g->nodes[r->node] : NULL;
    if (n == NULL || integer_only_user(p, id) != node || !is_normalisation(g, n)) {
        return false;
    }
    r->factor = 1.0f;
    id = graph_node_is(n, "Softmax") ? take_factor(p, n->inputs[0], &r->factor) : n->inputs[0];
    return integer_read_activation(g, id, &r->x);
}

static spry_status make_rows(integer_pass *p, const byte_rows *r, int32_t node)
{
    const graph_node n = p->g->nodes[r->node];
    const graph_node q = p->g->nodes[node];
    bool is_softmax = graph_node_is(&n, "Softmax");
    float epsilon = graph_attribute_float(&n, "epsilon", 1e-5f);
    int32_t ports[INTEGER_Y_ZERO + 1] = {[INTEGER_X] = r->x.data,
                                         [INTEGER_X + 1] = r->x.scale,
                                         [INTEGER_X + 2] = r->x.zero,
                                         [INTEGER_W] = is_softmax ? GRAPH_NONE : chain_input(&n, 1),
                                         [INTEGER_W + 1] =
                                             is_softmax ? GRAPH_NONE : chain_input(&n, 2),
                                         [INTEGER_W + 2] = GRAPH_NONE,
                                         [INTEGER_Y_SCALE] = q.inputs[1],
                                         [INTEGER_Y_ZERO] = chain_input(&q, 2)};
    spry_status status = become(p, node, is_softmax ? INTEGER_SOFTMAX : INTEGER_LAYER_NORM, ports,
                                INTEGER_Y_ZERO + 1);

    if (status == SPRY_OK) {
        status = graph_set_float(p->g, node, INTEGER_FACTOR, r->factor, p->error);
    }
    if (status == SPRY_OK) {
        status = graph_set_float(p->g, node, "epsilon", epsilon, p->error);
    }
    if (status == SPRY_OK) {
        graph_remove_node(p->g, r->node);
    }
    return status;
}

/* ---- Concat ---- */

/* A Concat whose inputs are dequantised bytes, all read by nobody else. */
static bool match_concat(const integer_pass *p, int32_t node, int32_t *concat)
{
    const graph *g = p->g;
    int32_t id = g->nodes[node].inputs[0];
    const graph_node *n;
    quantised q;
    bool any = false;

    *concat = g->values[id].producer;
    n = *concat != GRAPH_NONE ? &g->nodes[*concat] : NULL;
    if (n == NULL || !graph_node_is(n, "Concat") || integer_only_user(p, id) != node) {
        return false;
    }
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] == GRAPH_NONE || !graph_type_is_static(&g->values[n->inputs[i]].type)) {
            return false;
        }
        any = any || integer_read_activation(g, n->inputs[i], &q);
    }
    return any;
}

/* Quantises what goes into the Concat, which then makes the QuantizeLinear's result. */
static spry_status move_quantize_up(integer_pass *p, int32_t concat, int32_t node)
{
    graph *g = p->g;
    int32_t result = g->nodes[node].outputs[0];
    graph_type type = g->values[result].type;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < g->nodes[concat].input_count; i++) {
        const graph_node q = g->nodes[node];
        int32_t from = g->nodes[concat].inputs[i];
        int32_t bytes;
        int32_t made;

        status = graph_add_value(g, NULL, &bytes, p->error);
        if (status == SPRY_OK) {
            status =
                graph_add_node(g, q.type, q.domain, q.opset, q.input_count, 1, &made, p->error);
        }
        if (status != SPRY_OK) {
            return status;
        }
        g->nodes[made].op = q.op;
        g->values[bytes].type = g->values[from].type;
        g->values[bytes].type.dtype = type.dtype;
        for (int32_t k = 0; k < q.input_count; k++) {
            graph_set_input(g, made, k, k == 0 ? from : q.inputs[k]);
        }
        graph_set_output(g, made, 0, bytes);
        graph_set_input(g, concat, i, bytes);
    }
    graph_remove_node(g, node);
    graph_set_output(g, concat, 0, result);
    return status;
}

/* ---- the pass ---- */

spry_status integer_bytes_at(integer_pass *p, int32_t node)
{
    const graph *g = p->g;
    const graph_node *n = &g->nodes[node];
    spry_dtype dtype;
    int32_t concat;
    byte_chain c;
    byte_rows r;

    if (!integer_is_plain_linear(g, n, "QuantizeLinear") ||
        tensor_count(integer_constant(g, n, 1)) != 1 ||
        !graph_type_is_static(&g->values[n->outputs[0]].type)) {
        return SPRY_OK;
    }
    dtype = g->values[n->outputs[0]].type.dtype;
    if (dtype != SPRY_DTYPE_U8 && dtype != SPRY_DTYPE_I8) {
        return SPRY_OK;
    }
    if (follow_functions(g, n->inputs[0], &c)) {
        return make_table(p, &c, node);
    }
    if (match_rows(p, node, &r)) {
        return make_rows(p, &r, node);
    }
    return match_concat(p, node, &concat) ? move_quantize_up(p, concat, node) : SPRY_OK;
}
