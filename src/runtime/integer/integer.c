/* Finds dequantised products, convolutions and sums that are quantised again. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/twin.h"
#include "runtime/chain.h"
#include "runtime/fuse.h"
#include "runtime/integer/match.h"
#include "tensor/convert.h"

/* What an operator is rewritten to, as far as it has been followed. */
typedef struct match {
    integer_pass *pass;
    graph *g;
    spry_error *error;
    int32_t node;
    const char *type; /* of the new node */
    quantised x, w;
    int32_t bias; /* f32 or quantised constant, or GRAPH_NONE */
    int32_t ports[INTEGER_PORTS];
    chain_end end;
    graph_attribute *attributes; /* instead of the node's; or NULL */
    int32_t attribute_count;
    int32_t removed[8]; /* nodes after the first */
    int removed_count;
} match;

/* ---- reading ---- */

const tensor *integer_constant(const graph *g, const graph_node *n, int32_t port)
{
    int32_t id = chain_input(n, port);

    return id != GRAPH_NONE ? graph_constant(g, id) : NULL;
}

bool integer_is_plain_linear(const graph *g, const graph_node *n, const char *type)
{
    const tensor *scale = integer_constant(g, n, 1);

    return graph_node_is(n, type) && scale != NULL && scale->dtype == SPRY_DTYPE_F32 &&
           graph_attribute_int(n, "block_size", 0) == 0 && chain_input(n, 0) != GRAPH_NONE &&
           (chain_input(n, 2) == GRAPH_NONE || integer_constant(g, n, 2) != NULL);
}

bool integer_read_quantised(const graph *g, int32_t id, quantised *q)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

    if (n == NULL || n->removed || !integer_is_plain_linear(g, n, "DequantizeLinear")) {
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

bool integer_read_activation(const graph *g, int32_t id, quantised *q)
{
    spry_dtype dtype;

    if (!integer_read_quantised(g, id, q) || !is_single_scale(g, q) ||
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

    if (!integer_read_quantised(g, id, q)) {
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
    if (!integer_read_quantised(g, id, q)) {
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

int32_t integer_only_user(const integer_pass *p, int32_t id)
{
    return id < p->value_count ? chain_only_user(p->g, p->uses, id) : GRAPH_NONE;
}

static void absorb(match *m, int32_t node)
{
    m->removed[m->removed_count++] = node;
    m->end.result = m->g->nodes[node].outputs[0];
}

/* Takes in an Add of a bias per column. */
static void follow_bias(match *m)
{
    int32_t user = integer_only_user(m->pass, m->end.result);
    const graph_node *n = user != GRAPH_NONE ? &m->g->nodes[user] : NULL;
    const graph_type *type = &m->g->values[m->end.result].type;
    quantised q;
    const tensor *data;
    int32_t other;

    if (n == NULL || !graph_node_is(n, "Add") || m->bias != GRAPH_NONE) {
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
    int32_t user = integer_only_user(m->pass, m->end.result);

    if (user != GRAPH_NONE && chain_take_clamp(m->g, &m->g->nodes[user], &m->end)) {
        absorb(m, user);
    }
}

/* Takes in a QuantizeLinear to bytes of one scale. False when none follows. */
static bool follow_quantize(match *m)
{
    int32_t user = integer_only_user(m->pass, m->end.result);
    const graph_node *n = user != GRAPH_NONE ? &m->g->nodes[user] : NULL;
    spry_dtype dtype;

    if (n == NULL || !integer_is_plain_linear(m->g, n, "QuantizeLinear") ||
        n->inputs[0] != m->end.result || tensor_count(integer_constant(m->g, n, 1)) != 1) {
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
    provider_site site = {.g = m->g, .node = &n, .options = m->pass->options};
    int32_t ports[INTEGER_PORTS];
    int32_t result = m->end.result;

    memcpy(ports, m->ports, sizeof ports);
    n.type = m->type;
    n.domain = INTEGER_DOMAIN;
    n.inputs = ports;
    n.input_count = INTEGER_PORTS;
    n.outputs = &result;
    if (m->attributes != NULL) {
        n.attributes = m->attributes;
        n.attribute_count = m->attribute_count;
    }
    return provider_find(&site) != NULL;
}

const op integer_op = {.name = "Integer",
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
    if (m->attributes != NULL) {
        n->attributes = m->attributes;
        n->attribute_count = m->attribute_count;
    }
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
    bool is_conv = graph_node_is(n, "Conv");
    bool is_gemm = graph_node_is(n, "Gemm");
    int64_t axis = is_conv || graph_attribute_int(n, "transB", 0) != 0 ? 0 : 1;

    if ((!is_conv && !is_gemm && !graph_node_is(n, "MatMul")) || (is_gemm && !is_plain_gemm(n)) ||
        !integer_read_activation(g, chain_input(n, 0), &m->x) ||
        (!read_weights(g, chain_input(n, 1), axis, &m->w) &&
         (is_conv || !integer_read_activation(g, chain_input(n, 1), &m->w)))) {
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

/* An f32 bias of an f32 result is added as it is: steps would round it, and what reads the result
 * may round again. */
static bool keeps_bias(const match *m)
{
    const tensor *bias = m->bias != GRAPH_NONE ? graph_constant(m->g, m->bias) : NULL;

    return bias != NULL && bias->dtype == SPRY_DTYPE_F32 && bias->rank > 0 &&
           bias->shape[bias->rank - 1] == tensor_count(bias) &&
           m->ports[INTEGER_Y_SCALE] == GRAPH_NONE;
}

static spry_status rewrite_product(match *m)
{
    bool made = true;
    spry_status status = SPRY_OK;

    if (!match_product(m)) {
        return SPRY_OK;
    }
    if (keeps_bias(m)) {
        m->ports[INTEGER_BIAS] = m->bias;
    } else if (m->bias != GRAPH_NONE) {
        status = add_bias(m, &made);
    }
    return status == SPRY_OK && made && is_executable(m) ? rewrite(m) : status;
}

/* ---- dynamic quantisation ---- */

/* An f32 constant with nothing but a number per channel, or one. */
static bool is_scale(const graph *g, int32_t id)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32;
}

/* The value that is both scales: one constant, or the Mul of a scale that is computed and a
 * constant one; then *computed is not GRAPH_NONE. */
static bool read_scales(const graph *g, int32_t id, int32_t *computed, int32_t *constant)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

    *computed = GRAPH_NONE;
    *constant = id;
    if (is_scale(g, id)) {
        return true;
    }
    if (n == NULL || !graph_node_is(n, "Mul")) {
        return false;
    }
    for (int32_t i = 0; i < 2; i++) {
        const tensor *t = integer_constant(g, n, i);
        const graph_type *other = &g->values[n->inputs[1 - i]].type;

        if (t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank <= 1 &&
            graph_type_is_static(other) && other->dtype == SPRY_DTYPE_F32 &&
            op_work_count(other) == 1) {
            *constant = n->inputs[i];
            *computed = n->inputs[1 - i];
            return true;
        }
    }
    return false;
}

/* Does the constant have a number per channel of a result of that kind, or one number? */
static bool is_per_channel(const tensor *t, bool is_conv, int64_t channels, int rank)
{
    int64_t count = tensor_count(t);
    int axis = is_conv ? t->rank - (rank - 1) : t->rank - 1; /* of the constant */

    return count == 1 || (count == channels && axis >= 0 && t->shape[axis] == channels);
}

/* Takes in an Add of integers per channel. */
static void follow_integer_bias(match *m, bool is_conv)
{
    const graph *g = m->g;
    int32_t user = integer_only_user(m->pass, m->end.result);
    const graph_node *n = user != GRAPH_NONE ? &g->nodes[user] : NULL;
    const graph_type *y = &g->values[m->end.result].type;
    const tensor *t;
    int32_t other;

    if (n == NULL || !graph_node_is(n, "Add") || !graph_type_is_static(y) || y->rank < 2) {
        return;
    }
    other = n->inputs[n->inputs[0] == m->end.result];
    t = other != GRAPH_NONE ? graph_constant(g, other) : NULL;
    if (t != NULL && t->dtype == SPRY_DTYPE_I32 && t->rank <= y->rank && t->rank > 0 &&
        tensor_count(t) == y->dims[is_conv ? 1 : y->rank - 1].size &&
        is_per_channel(t, is_conv, tensor_count(t), y->rank)) {
        m->ports[INTEGER_BIAS] = other;
        absorb(m, user);
    }
}

/* Takes in an Add of an f32 constant per column, which stays f32: its steps are not known. */
static void follow_float_bias(match *m)
{
    quantised q;
    const tensor *data;

    follow_bias(m);
    if (m->bias == GRAPH_NONE) {
        return;
    }
    data = bias_data(m->g, m->bias, &q);
    if (q.scale != GRAPH_NONE || data->dtype != SPRY_DTYPE_F32) { /* then nothing is taken */
        m->type = NULL;
    }
    m->ports[INTEGER_BIAS] = m->bias;
}

/* Takes in the Cast to f32 and the Mul by both scales. */
static bool follow_scales(match *m, bool is_conv)
{
    enum { TO_F32 = 1 };
    const graph *g = m->g;
    const graph_type *y;
    const tensor *scale;
    int32_t cast = integer_only_user(m->pass, m->end.result);
    int32_t product;
    int32_t mul;
    int32_t other;

    if (cast == GRAPH_NONE || !graph_node_is(&g->nodes[cast], "Cast") ||
        graph_attribute_int(&g->nodes[cast], "to", 0) != TO_F32) {
        return false;
    }
    product = g->nodes[cast].outputs[0];
    mul = integer_only_user(m->pass, product);
    y = &g->values[product].type;
    if (mul == GRAPH_NONE || !graph_node_is(&g->nodes[mul], "Mul") || !graph_type_is_static(y) ||
        y->rank < 2) {
        return false;
    }
    other = g->nodes[mul].inputs[g->nodes[mul].inputs[0] == product];
    if (!read_scales(g, other, &m->ports[INTEGER_X + 1], &m->ports[INTEGER_W + 1])) {
        return false;
    }
    scale = graph_constant(g, m->ports[INTEGER_W + 1]);
    if (scale->rank > y->rank ||
        !is_per_channel(scale, is_conv, y->dims[is_conv ? 1 : y->rank - 1].size, y->rank)) {
        return false;
    }
    absorb(m, cast);
    absorb(m, mul);
    return true;
}

/* MatMulInteger | ConvInteger [-> + integer bias] -> Cast -> Mul by both scales [-> + bias]
 * [-> Relu | Clip] [-> QuantizeLinear, where no scale is computed]. */
static bool match_dynamic(match *m)
{
    const graph *g = m->g;
    const graph_node *n = &g->nodes[m->node];
    bool is_conv = graph_node_is(n, "ConvInteger");

    if (!is_conv && !graph_node_is(n, "MatMulInteger")) {
        return false;
    }
    follow_integer_bias(m, is_conv);
    if (!follow_scales(m, is_conv)) {
        return false;
    }
    m->type = is_conv ? "QLinearConv" : "QLinearMatMul";
    m->ports[INTEGER_X] = n->inputs[0];
    m->ports[INTEGER_X + 2] = chain_input(n, 2);
    m->ports[INTEGER_W] = n->inputs[1];
    m->ports[INTEGER_W + 2] = chain_input(n, 3);
    if (!is_conv && m->ports[INTEGER_BIAS] == GRAPH_NONE) {
        follow_float_bias(m);
    }
    follow_clamp(m);
    if (m->ports[INTEGER_X + 1] == GRAPH_NONE && m->bias == GRAPH_NONE) {
        (void)follow_quantize(m);
    }
    return m->type != NULL;
}

/* ---- twin operands, and heads ---- */

/* Computed bytes with a step for each slice along the axis before the matrices: heads. */
static bool read_heads(const graph *g, int32_t id, quantised *q)
{
    const graph_type *type = id != GRAPH_NONE ? &g->values[id].type : NULL;

    return type != NULL && type->has_rank && type->rank > 2 && integer_read_quantised(g, id, q) &&
           graph_constant(g, q->data) == NULL &&
           (is_single_scale(g, q) || q->axis == type->rank - 3 || q->axis == -3);
}

/* The TwinQuantize that makes the value, or NULL. */
static const graph_node *twin_of(const graph *g, int32_t id)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

    return n != NULL && !n->removed && strcmp(n->domain, TWIN_DOMAIN) == 0 &&
                   strcmp(n->type, TWIN_OP) == 0
               ? n
               : NULL;
}

/* Attributes of both nodes: those of the product lack those of the grid. */
static spry_status join_attributes(match *m, const graph_node *twin)
{
    const graph_node *n = &m->g->nodes[m->node];
    size_t count = (size_t)n->attribute_count + (size_t)twin->attribute_count;
    graph_attribute *all = arena_array(m->g->memory, count + 1, sizeof *all);

    if (all == NULL) {
        return alloc_failed(m->error, count * sizeof *all);
    }
    if (n->attribute_count > 0) {
        memcpy(all, n->attributes, (size_t)n->attribute_count * sizeof *all);
    }
    memcpy(all + n->attribute_count, twin->attributes, (size_t)twin->attribute_count * sizeof *all);
    m->attributes = all;
    m->attribute_count = (int32_t)count;
    return SPRY_OK;
}

/* A product with a twin operand, or of heads with steps of their own; its result is f32. */
static bool match_planes(match *m)
{
    const graph *g = m->g;
    const graph_node *n = &g->nodes[m->node];
    bool is_gemm = graph_node_is(n, "Gemm");
    const graph_node *twin = twin_of(g, chain_input(n, 0));
    int64_t axis = graph_attribute_int(n, "transB", 0) != 0 ? 0 : 1;

    if ((!is_gemm && !graph_node_is(n, "MatMul")) || (is_gemm && !is_plain_gemm(n)) ||
        (twin == NULL && !read_heads(g, chain_input(n, 0), &m->x)) ||
        (!(twin != NULL && read_weights(g, chain_input(n, 1), axis, &m->w)) &&
         !read_heads(g, chain_input(n, 1), &m->w))) {
        return false;
    }
    if (twin != NULL) {
        m->x = (quantised){.data = twin->inputs[0], .scale = GRAPH_NONE, .zero = GRAPH_NONE};
    }
    m->type = "QLinearMatMul";
    m->bias = chain_input(n, 2);
    set_ports(m);
    m->ports[INTEGER_BIAS] = m->bias;
    if (m->bias == GRAPH_NONE) {
        follow_float_bias(m);
    }
    follow_clamp(m);
    return m->type != NULL;
}

static spry_status rewrite_planes(match *m)
{
    const graph_node *twin = twin_of(m->g, chain_input(&m->g->nodes[m->node], 0));
    spry_status status = twin != NULL ? join_attributes(m, twin) : SPRY_OK;

    return status == SPRY_OK && is_executable(m) ? rewrite(m) : status;
}

/* ---- sums ---- */

static bool match_sum(match *m)
{
    const graph *g = m->g;
    const graph_node *n = &g->nodes[m->node];

    if (!graph_node_is(n, "Add") || !integer_read_activation(g, chain_input(n, 0), &m->x) ||
        !integer_read_activation(g, chain_input(n, 1), &m->w)) {
        return false;
    }
    m->type = "QLinearAdd";
    set_ports(m);
    follow_clamp(m);
    return follow_quantize(m);
}

/* ---- DequantizeLinear ---- */

spry_status integer_add_dequantize(integer_pass *p, int32_t like, const quantised *q, int32_t bytes,
                                   int32_t result)
{
    graph *g = p->g;
    const op *definition = g->nodes[like].op;
    int32_t opset = g->nodes[like].opset;
    int32_t node;
    spry_status status = graph_add_node(g, "DequantizeLinear", "", opset, 3, 1, &node, p->error);

    if (status == SPRY_OK) {
        g->nodes[node].op = definition;
        graph_set_input(g, node, 0, bytes);
        graph_set_input(g, node, 1, q->scale);
        graph_set_input(g, node, 2, q->zero);
        graph_set_output(g, node, 0, result);
    }
    return status;
}

/* ---- the pass ---- */

static void begin(match *m, integer_pass *p, int32_t node)
{
    *m = (match){
        .pass = p,
        .g = p->g,
        .error = p->error,
        .node = node,
        .bias = GRAPH_NONE,
        .end = {.result = p->g->nodes[node].outputs[0], .lower = -INFINITY, .upper = INFINITY}};
    for (int i = 0; i < INTEGER_PORTS; i++) {
        m->ports[i] = GRAPH_NONE;
    }
}

static spry_status rewrite_at(integer_pass *p, int32_t node)
{
    graph *g = p->g;
    match m;
    const graph_node *n = &g->nodes[node];
    bool moved;
    spry_status status;

    if (n->removed) {
        return SPRY_OK;
    }
    status = integer_move_at(p, node, &moved);
    n = &g->nodes[node];
    if (status != SPRY_OK || moved || n->output_count != 1 || n->outputs[0] == GRAPH_NONE) {
        return status;
    }
    if (graph_node_is(n, "QuantizeLinear")) {
        return integer_bytes_at(p, node);
    }
    begin(&m, p, node);
    if (match_dynamic(&m) || match_sum(&m)) {
        return is_executable(&m) ? rewrite(&m) : SPRY_OK;
    }
    begin(&m, p, node);
    status = rewrite_product(&m);
    if (status != SPRY_OK || strcmp(g->nodes[node].domain, INTEGER_DOMAIN) == 0) {
        return status;
    }
    begin(&m, p, node);
    return match_planes(&m) ? rewrite_planes(&m) : SPRY_OK;
}

spry_status integer_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    arena memory;
    graph_uses uses;
    integer_pass p = {
        .g = g, .uses = &uses, .value_count = g->value_count, .options = options, .error = error};
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        status = rewrite_at(&p, i);
    }
    arena_fini(&memory);
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
