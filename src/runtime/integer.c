/* Finds dequantised products, convolutions and sums that are quantised again. */
#include "runtime/integer.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/chain.h"
#include "runtime/fuse.h"
#include "tensor/convert.h"

/* A tensor of quantised numbers: what a DequantizeLinear reads. */
typedef struct quantised {
    int32_t data, scale, zero; /* values; `zero` may be GRAPH_NONE */
    int64_t axis;              /* of several scales */
} quantised;

/* What an operator is rewritten to, as far as it has been followed. */
typedef struct match {
    graph *g;
    const graph_uses *uses;
    const spry_session_options *options;
    spry_error *error;
    int32_t node;
    const char *type; /* of the new node */
    quantised x, w;
    int32_t bias; /* f32 or quantised constant, or GRAPH_NONE */
    int32_t ports[INTEGER_PORTS];
    chain_end end;
    int32_t removed[4]; /* nodes after the first */
    int removed_count;
} match;

/* ---- reading ---- */

static const tensor *constant_at(const graph *g, const graph_node *n, int32_t port)
{
    int32_t id = chain_input(n, port);

    return id != GRAPH_NONE ? graph_constant(g, id) : NULL;
}

/* A standard DequantizeLinear or QuantizeLinear with constant f32 scales that are not blocked, and
 * a constant zero point or none. */
static bool is_plain_linear(const graph *g, const graph_node *n, const char *type)
{
    const tensor *scale = constant_at(g, n, 1);

    return chain_is(n, type) && scale != NULL && scale->dtype == SPRY_DTYPE_F32 &&
           graph_attribute_int(n, "block_size", 0) == 0 && chain_input(n, 0) != GRAPH_NONE &&
           (chain_input(n, 2) == GRAPH_NONE || constant_at(g, n, 2) != NULL);
}

/* What the value was dequantised from; false when it was not. */
static bool read_quantised(const graph *g, int32_t id, quantised *q)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

    if (n == NULL || n->removed || !is_plain_linear(g, n, "DequantizeLinear")) {
        return false;
    }
    *q = (quantised){.data = n->inputs[0],
                     .scale = n->inputs[1],
                     .zero = chain_input(n, 2),
                     .axis = graph_attribute_int(n, "axis", 1)};
    return true;
}

static const tensor *scale_of(const graph *g, const quantised *q)
{
    return graph_constant(g, q->scale);
}

static bool is_single_scale(const graph *g, const quantised *q)
{
    return tensor_count(scale_of(g, q)) == 1;
}

/* Computed bytes with one scale. */
static bool read_activation(const graph *g, int32_t id, quantised *q)
{
    spry_dtype dtype;

    if (!read_quantised(g, id, q) || !is_single_scale(g, q) ||
        g->values[q->data].constant != NULL) {
        return false;
    }
    dtype = g->values[q->data].type.dtype;
    return dtype == SPRY_DTYPE_U8 || dtype == SPRY_DTYPE_I8;
}

/* Constant bytes with one scale, or one per output channel along `axis`. */
static bool read_weights(const graph *g, int32_t id, int64_t axis, quantised *q)
{
    const tensor *data;

    if (!read_quantised(g, id, q)) {
        return false;
    }
    data = graph_constant(g, q->data);
    if (data == NULL || (data->dtype != SPRY_DTYPE_U8 && data->dtype != SPRY_DTYPE_I8)) {
        return false;
    }
    return is_single_scale(g, q) || q->axis == axis || q->axis + data->rank == axis;
}

/* ---- bias ---- */

/* Numbers of a constant bias, f32 or dequantised; NULL when it is neither. */
static const tensor *bias_data(const graph *g, int32_t id, quantised *q)
{
    const tensor *t = graph_constant(g, id);

    *q = (quantised){.scale = GRAPH_NONE};
    if (t != NULL) {
        return t->dtype == SPRY_DTYPE_F32 ? t : NULL;
    }
    if (!read_quantised(g, id, q)) {
        return NULL;
    }
    t = graph_constant(g, q->data);
    if (t == NULL || t->rank != 1 || (q->zero != GRAPH_NONE && q->axis > 0)) {
        return NULL;
    }
    return is_single_scale(g, q) || tensor_count(scale_of(g, q)) == tensor_count(t) ? t : NULL;
}

static double bias_at(const graph *g, const tensor *data, const quantised *q, int64_t i)
{
    const tensor *scale;
    const tensor *zero;
    double number = convert_get_f64(data, i);

    if (q->scale == GRAPH_NONE) {
        return number;
    }
    scale = scale_of(g, q);
    zero = q->zero != GRAPH_NONE ? graph_constant(g, q->zero) : NULL;
    number -= zero != NULL ? convert_get_f64(zero, tensor_count(zero) == 1 ? 0 : i) : 0.0;
    return number * convert_get_f64(scale, tensor_count(scale) == 1 ? 0 : i);
}

/* The bias in steps of x scale x w scale, as a new constant. *made: whether it fits. */
static spry_status add_bias(match *m, bool *made)
{
    enum { MOST_STEPS = 1 << 30 };
    graph *g = m->g;
    quantised q;
    const tensor *data = bias_data(g, m->bias, &q);
    const tensor *w_scale = scale_of(g, &m->w);
    float x_scale = *(const float *)scale_of(g, &m->x)->data;
    int64_t count = data != NULL ? tensor_count(data) : 0;
    int64_t scales = tensor_count(w_scale);
    tensor *t = arena_bytes(g->memory, sizeof *t);
    int32_t *steps = arena_array(g->memory, (size_t)count + 1, sizeof *steps);
    spry_status status;

    *made = false;
    if (t == NULL || steps == NULL) {
        return alloc_failed(m->error, (size_t)count * sizeof *steps);
    }
    if (data == NULL || (scales != 1 && scales != count)) {
        return SPRY_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        float step = x_scale * ((const float *)w_scale->data)[scales == 1 ? 0 : i];
        double wanted = rint(bias_at(g, data, &q, i) / (double)step);

        if (!(fabs(wanted) <= MOST_STEPS)) {
            return SPRY_OK;
        }
        steps[i] = (int32_t)wanted;
    }
    status = tensor_init(t, SPRY_DTYPE_I32, 1, &count, steps, m->error);
    if (status == SPRY_OK) {
        status = graph_add_constant(g, NULL, t, &m->ports[INTEGER_BIAS], m->error);
    }
    *made = status == SPRY_OK;
    return status;
}

/* ---- following ---- */

static void absorb(match *m, int32_t node)
{
    m->removed[m->removed_count++] = node;
    m->end.result = m->g->nodes[node].outputs[0];
}

/* Takes in an Add of a bias per column. */
static void follow_bias(match *m)
{
    int32_t user = chain_only_user(m->g, m->uses, m->end.result);
    const graph_node *n = user != GRAPH_NONE ? &m->g->nodes[user] : NULL;
    const graph_type *type = &m->g->values[m->end.result].type;
    quantised q;
    const tensor *data;
    int32_t other;

    if (n == NULL || !chain_is(n, "Add") || m->bias != GRAPH_NONE) {
        return;
    }
    other = n->inputs[0] == m->end.result ? n->inputs[1] : n->inputs[0];
    data = other != GRAPH_NONE ? bias_data(m->g, other, &q) : NULL;
    if (data != NULL && graph_type_is_static(type) && type->rank > 0 && data->rank >= 1 &&
        tensor_count(data) == type->dims[type->rank - 1].size &&
        data->shape[data->rank - 1] == tensor_count(data) && data->rank <= type->rank) {
        m->bias = other;
        absorb(m, user);
    }
}

static void follow_clamp(match *m)
{
    int32_t user = chain_only_user(m->g, m->uses, m->end.result);

    if (user != GRAPH_NONE && chain_take_clamp(m->g, &m->g->nodes[user], &m->end)) {
        absorb(m, user);
    }
}

/* Takes in a QuantizeLinear to bytes of one scale. False when none follows. */
static bool follow_quantize(match *m)
{
    int32_t user = chain_only_user(m->g, m->uses, m->end.result);
    const graph_node *n = user != GRAPH_NONE ? &m->g->nodes[user] : NULL;
    spry_dtype dtype;

    if (n == NULL || !is_plain_linear(m->g, n, "QuantizeLinear") || n->inputs[0] != m->end.result ||
        tensor_count(constant_at(m->g, n, 1)) != 1) {
        return false;
    }
    dtype = m->g->values[n->outputs[0]].type.dtype;
    if (dtype != SPRY_DTYPE_U8 && dtype != SPRY_DTYPE_I8) {
        return false;
    }
    m->ports[INTEGER_Y_SCALE] = n->inputs[1];
    m->ports[INTEGER_Y_ZERO] = chain_input(n, 2);
    absorb(m, user);
    return true;
}

/* ---- rewriting ---- */

static void set_ports(match *m)
{
    m->ports[INTEGER_X] = m->x.data;
    m->ports[INTEGER_X + 1] = m->x.scale;
    m->ports[INTEGER_X + 2] = m->x.zero;
    m->ports[INTEGER_W] = m->w.data;
    m->ports[INTEGER_W + 1] = m->w.scale;
    m->ports[INTEGER_W + 2] = m->w.zero;
}

static bool is_executable(const match *m)
{
    graph_node n = m->g->nodes[m->node];
    provider_site site = {.g = m->g, .node = &n, .options = m->options};
    int32_t ports[INTEGER_PORTS];
    int32_t result = m->end.result;

    memcpy(ports, m->ports, sizeof ports);
    n.type = m->type;
    n.domain = INTEGER_DOMAIN;
    n.inputs = ports;
    n.input_count = INTEGER_PORTS;
    n.outputs = &result;
    return provider_find(&site) != NULL;
}

static const op integer_op = {.name = "Integer",
                              .domain = INTEGER_DOMAIN,
                              .min_inputs = 2,
                              .max_inputs = INTEGER_PORTS,
                              .min_outputs = 1,
                              .max_outputs = 1,
                              .run = chain_refuse_to_run,
                              .cost = chain_cost};

static spry_status rewrite(match *m)
{
    graph *g = m->g;
    graph_node *n = &g->nodes[m->node];
    int32_t *ports = arena_array(g->memory, INTEGER_PORTS, sizeof *ports);
    spry_status status = SPRY_OK;

    if (ports == NULL) {
        return alloc_failed(m->error, sizeof m->ports);
    }
    memcpy(ports, m->ports, sizeof m->ports);
    n->type = m->type;
    n->domain = INTEGER_DOMAIN;
    n->op = &integer_op;
    n->inputs = ports;
    n->input_count = INTEGER_PORTS;
    if (m->end.is_clamped) {
        status = chain_set_clamp(g, m->node, &m->end, m->error);
    }
    for (int i = 0; i < m->removed_count; i++) {
        graph_remove_node(g, m->removed[i]);
    }
    graph_set_output(g, m->node, 0, m->end.result);
    return status;
}

/* ---- products and convolutions ---- */

static bool is_plain_gemm(const graph_node *n)
{
    return graph_attribute_float(n, "alpha", 1.0f) == 1.0f &&
           graph_attribute_float(n, "beta", 1.0f) == 1.0f &&
           graph_attribute_int(n, "transA", 0) == 0;
}

/* Operands of a product; false when it is not one of integers. */
static bool match_product(match *m)
{
    const graph *g = m->g;
    const graph_node *n = &g->nodes[m->node];
    bool is_conv = chain_is(n, "Conv");
    bool is_gemm = chain_is(n, "Gemm");
    int64_t axis = is_conv || graph_attribute_int(n, "transB", 0) != 0 ? 0 : 1;

    if ((!is_conv && !is_gemm && !chain_is(n, "MatMul")) || (is_gemm && !is_plain_gemm(n)) ||
        !read_activation(g, chain_input(n, 0), &m->x) ||
        !read_weights(g, chain_input(n, 1), axis, &m->w)) {
        return false;
    }
    m->type = is_conv ? "QLinearConv" : "QLinearMatMul";
    m->bias = chain_input(n, 2);
    set_ports(m);
    if (!is_conv) {
        follow_bias(m);
    }
    follow_clamp(m);
    (void)follow_quantize(m);
    return true;
}

static spry_status rewrite_product(match *m)
{
    bool made = true;
    spry_status status = SPRY_OK;

    if (!match_product(m)) {
        return SPRY_OK;
    }
    if (m->bias != GRAPH_NONE) {
        status = add_bias(m, &made);
    }
    return status == SPRY_OK && made && is_executable(m) ? rewrite(m) : status;
}

/* ---- sums ---- */

static bool match_sum(match *m)
{
    const graph *g = m->g;
    const graph_node *n = &g->nodes[m->node];

    if (!chain_is(n, "Add") || !read_activation(g, chain_input(n, 0), &m->x) ||
        !read_activation(g, chain_input(n, 1), &m->w)) {
        return false;
    }
    m->type = "QLinearAdd";
    set_ports(m);
    follow_clamp(m);
    return follow_quantize(m);
}

/* ---- operators that move bytes ---- */

/* DequantizeLinear -> move -> ... becomes move -> DequantizeLinear -> ..., for operators that give
 * back elements of their first input. What follows sees the DequantizeLinear. */
static bool is_move(const graph_node *n)
{
    static const char *const moves[] = {"Reshape",   "Flatten",   "Squeeze",
                                        "Unsqueeze", "Transpose", "Identity"};

    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        if (chain_is(n, moves[i])) {
            return true;
        }
    }
    return false;
}

/* The node works on the bytes; a new DequantizeLinear makes its old result from the new one. */
static spry_status move_before(match *m)
{
    graph *g = m->g;
    graph_node *n = &g->nodes[m->node];
    const graph_node *before = &g->nodes[g->values[n->inputs[0]].producer];
    const op *definition = before->op;
    int32_t opset = before->opset;
    int32_t result = n->outputs[0];
    int32_t bytes;
    int32_t after;
    spry_status status = graph_add_value(g, NULL, &bytes, m->error);

    if (status == SPRY_OK) {
        status = graph_add_node(g, "DequantizeLinear", "", opset, 3, 1, &after, m->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    g->values[bytes].type = g->values[result].type;
    g->values[bytes].type.dtype = g->values[m->x.data].type.dtype;
    graph_set_input(g, m->node, 0, m->x.data);
    graph_set_output(g, m->node, 0, bytes);
    g->nodes[after].op = definition;
    graph_set_input(g, after, 0, bytes);
    graph_set_input(g, after, 1, m->x.scale);
    graph_set_input(g, after, 2, m->x.zero);
    graph_set_output(g, after, 0, result);
    return SPRY_OK;
}

/* ---- the pass ---- */

static spry_status rewrite_at(graph *g, const graph_uses *uses, int32_t node,
                              const spry_session_options *options, spry_error *error)
{
    match m = {.g = g,
               .uses = uses,
               .options = options,
               .error = error,
               .node = node,
               .bias = GRAPH_NONE,
               .end = {.lower = -INFINITY, .upper = INFINITY}};
    const graph_node *n = &g->nodes[node];

    if (n->removed || n->output_count != 1 || n->outputs[0] == GRAPH_NONE) {
        return SPRY_OK;
    }
    for (int i = 0; i < INTEGER_PORTS; i++) {
        m.ports[i] = GRAPH_NONE;
    }
    m.end.result = n->outputs[0];
    if (is_move(n) && !g->values[n->outputs[0]].is_output &&
        read_activation(g, n->inputs[0], &m.x)) {
        return move_before(&m);
    }
    if (match_sum(&m)) {
        return is_executable(&m) ? rewrite(&m) : SPRY_OK;
    }
    return rewrite_product(&m);
}

spry_status integer_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    arena memory;
    graph_uses uses;
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        status = rewrite_at(g, &uses, i, options, error);
    }
    arena_fini(&memory);
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
