/* Finds products with weights of a few bits; unpacks those that no provider takes. */
#include "runtime/nbits.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "ops/nbits.h"
#include "runtime/chain.h"

enum { DEQUANTIZE_PORTS = 3, MATMUL_OPSET = 13 };

static void count_products(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *a = w->inputs[0];

    *macs = op_work_count(w->outputs[0]) * a->dims[a->rank - 1].size;
    *flops = 2 * *macs;
}

static const op nbits_op = {.name = NBITS_TYPE, .run = chain_refuse_to_run, .cost = count_products};

/* What becomes one node. */
typedef struct match {
    int32_t dequantize, product;
    int64_t block;
    bool turned;
    int32_t bias; /* value, or GRAPH_NONE */
} match;

static const graph_type *type_at(const graph *g, int32_t id)
{
    return id != GRAPH_NONE && graph_type_is_static(&g->values[id].type) ? &g->values[id].type
                                                                         : NULL;
}

/* The product's own attributes and its bias, if it has one. */
static bool reads_plainly(const graph *g, const graph_node *n, match *m)
{
    const graph_type *a = type_at(g, n->inputs[0]);
    bool has_bias = n->input_count > 2 && n->inputs[2] != GRAPH_NONE;

    m->turned = false;
    m->bias = GRAPH_NONE;
    if (a == NULL || a->dtype != SPRY_DTYPE_F32 || a->rank < 1 ||
        type_at(g, n->outputs[0]) == NULL) {
        return false;
    }
    if (graph_node_is(n, "MatMul")) {
        return true;
    }
    if (!graph_node_is(n, "Gemm") || graph_attribute_int(n, "transA", 0) != 0 ||
        graph_attribute_float(n, "alpha", 1.0f) != 1.0f ||
        (has_bias && graph_attribute_float(n, "beta", 1.0f) != 1.0f)) {
        return false;
    }
    m->turned = graph_attribute_int(n, "transB", 0) != 0;
    m->bias = has_bias ? n->inputs[2] : GRAPH_NONE;
    return true;
}

static bool has_few_bits(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_I4 || dtype == SPRY_DTYPE_U4 || dtype == SPRY_DTYPE_I8 ||
           dtype == SPRY_DTYPE_U8;
}

/* A matrix of such constants with scales in blocks along k, or per column. */
static bool dequantizes_weights(const graph *g, const graph_node *n, match *m)
{
    const tensor *codes = g->values[n->inputs[0]].constant;
    int64_t axis = graph_attribute_int(n, "axis", 1);
    int64_t k_axis = m->turned ? 1 : 0;

    m->block = graph_attribute_int(n, "block_size", 0);
    return graph_node_is(n, "DequantizeLinear") && codes != NULL && codes->rank == 2 &&
           has_few_bits(codes->dtype) && ((axis < 0 ? axis + 2 : axis) == k_axis) == (m->block > 0);
}

/* Bytes times bytes: for blocks.h. */
static bool multiplies_bytes(const graph *g, const match *m)
{
    int32_t producer = g->values[g->nodes[m->product].inputs[0]].producer;
    spry_dtype dtype = g->values[g->nodes[m->dequantize].inputs[0]].constant->dtype;

    return (dtype == SPRY_DTYPE_I8 || dtype == SPRY_DTYPE_U8) && producer != GRAPH_NONE &&
           graph_node_is(&g->nodes[producer], "DequantizeLinear");
}

static bool find_match(const graph *g, int32_t id, const graph_uses *uses, match *m)
{
    const graph_node *n = &g->nodes[id];
    int32_t weights = n->input_count > 1 ? n->inputs[1] : GRAPH_NONE;

    *m = (match){.product = id};
    if (n->removed || weights == GRAPH_NONE || n->inputs[0] == GRAPH_NONE ||
        !reads_plainly(g, n, m)) {
        return false;
    }
    m->dequantize = g->values[weights].producer;
    return m->dequantize != GRAPH_NONE && !g->values[weights].is_output &&
           uses->offsets[weights + 1] - uses->offsets[weights] == 1 &&
           dequantizes_weights(g, &g->nodes[m->dequantize], m) && !multiplies_bytes(g, m);
}

/* Makes the product the new node, where a provider executes that. */
static spry_status replace(graph *g, const match *m, const spry_session_options *options,
                           spry_error *error)
{
    const graph_node *source = &g->nodes[m->dequantize];
    int32_t *ports = arena_array(g->memory, NBITS_GRAPH_PORTS, sizeof *ports);
    provider_site site = {.g = g, .options = options};
    graph_node n;
    spry_status status;

    if (ports == NULL) {
        return alloc_failed(error, NBITS_GRAPH_PORTS * sizeof *ports);
    }
    status = graph_set_int(g, m->product, NBITS_BLOCK, m->block, error);
    if (status == SPRY_OK) {
        status = graph_set_int(g, m->product, NBITS_TURNED, m->turned, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    n = g->nodes[m->product];
    ports[0] = n.inputs[0];
    for (int32_t i = 0; i < DEQUANTIZE_PORTS; i++) {
        ports[1 + i] = i < source->input_count ? source->inputs[i] : GRAPH_NONE;
    }
    ports[NBITS_GRAPH_BIAS] = m->bias;
    n.type = NBITS_TYPE;
    n.domain = NBITS_DOMAIN;
    n.inputs = ports;
    n.input_count = NBITS_GRAPH_PORTS;
    n.op = &nbits_op;
    site.node = &n;
    if (provider_find(&site) != NULL) {
        g->nodes[m->product] = n;
        graph_remove_node(g, m->dequantize);
    }
    return SPRY_OK;
}

/* ---- MatMulNBits that no provider executes: weights that are not in order ---- */

/* The operator's constants; false when it has others, or not f32. */
static bool read_operator(const graph *g, const graph_node *n, nbits_weights *w,
                          const tensor **bias)
{
    const tensor *t[NBITS_BIAS + 1] = {NULL};
    const graph_type *a;

    if (strcmp(n->domain, "com.microsoft") != 0 || strcmp(n->type, "MatMulNBits") != 0) {
        return false;
    }
    a = type_at(g, n->inputs[NBITS_A]);
    if (a == NULL || a->dtype != SPRY_DTYPE_F32 || !nbits_read(n, &w->sizes)) {
        return false;
    }
    for (int32_t i = NBITS_CODES; i < n->input_count && i <= NBITS_BIAS; i++) {
        t[i] = n->inputs[i] != GRAPH_NONE ? g->values[n->inputs[i]].constant : NULL;
        if (n->inputs[i] != GRAPH_NONE && t[i] == NULL) {
            return false;
        }
    }
    w->codes = t[NBITS_CODES];
    w->zeros = t[NBITS_ZEROS];
    w->index = t[NBITS_INDEX];
    *bias = t[NBITS_BIAS];
    if (w->codes == NULL || t[NBITS_SCALES] == NULL || t[NBITS_SCALES]->dtype != SPRY_DTYPE_F32 ||
        !nbits_fits(&w->sizes, w->codes, t[NBITS_SCALES], w->zeros) ||
        (w->index != NULL && tensor_count(w->index) < w->sizes.k)) {
        return false;
    }
    w->scales = t[NBITS_SCALES]->data;
    return *bias == NULL || tensor_count(*bias) == w->sizes.n;
}

/* The bias is added by a node of its own. */
static spry_status add_bias(graph *g, int32_t node, int32_t bias, spry_error *error)
{
    int32_t result = g->nodes[node].outputs[0];
    int32_t product;
    int32_t add;
    spry_status status = graph_add_value(g, NULL, &product, error);

    if (status == SPRY_OK) {
        status = graph_add_node(g, "Add", "", MATMUL_OPSET, 2, 1, &add, error);
    }
    if (status == SPRY_OK) {
        g->values[product].type = g->values[result].type;
        g->nodes[add].op = op_find("", "Add", MATMUL_OPSET);
        graph_set_output(g, node, 0, product);
        graph_set_input(g, add, 0, product);
        graph_set_input(g, add, 1, bias);
        graph_set_output(g, add, 0, result);
    }
    return status;
}

/* Becomes a MatMul with weights of f32. */
static spry_status unpack(graph *g, int32_t node, const nbits_weights *w, bool has_bias,
                          spry_error *error)
{
    const int64_t shape[] = {w->sizes.k, w->sizes.n};
    graph_node *n = &g->nodes[node];
    tensor *t = arena_zeroed(g->memory, sizeof *t);
    int32_t weights;
    spry_status status = SPRY_OK;

    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    status = tensor_init(t, SPRY_DTYPE_F32, 2, shape, NULL, error);
    if (status != SPRY_OK) {
        return status;
    }
    t->data = arena_bytes(g->memory, t->bytes);
    if (t->data == NULL) {
        return alloc_failed(error, t->bytes);
    }
    if (!nbits_expand(w, 1, w->sizes.n, t->data)) {
        return SPRY_OK; /* the reference says what is wrong */
    }
    status = graph_add_constant(g, NULL, t, &weights, error);
    if (status != SPRY_OK) {
        return status;
    }
    n->type = "MatMul";
    n->domain = "";
    n->opset = MATMUL_OPSET;
    n->op = op_find("", "MatMul", MATMUL_OPSET);
    n->attribute_count = 0;
    graph_set_input(g, node, 1, weights);
    status = has_bias ? add_bias(g, node, n->inputs[NBITS_BIAS], error) : SPRY_OK;
    g->nodes[node].input_count = 2;
    return status;
}

static spry_status unpack_at(graph *g, int32_t node, const spry_session_options *options,
                             spry_error *error)
{
    provider_site site = {.g = g, .node = &g->nodes[node], .options = options};
    nbits_weights w;
    const tensor *bias;

    return !g->nodes[node].removed && read_operator(g, &g->nodes[node], &w, &bias) &&
                   provider_find(&site) == NULL
               ? unpack(g, node, &w, bias != NULL, error)
               : SPRY_OK;
}

spry_status nbits_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    int32_t count = g->node_count;
    graph_uses uses;
    arena memory;
    spry_status status;

    arena_init(&memory, options->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        match m;

        if (find_match(g, i, &uses, &m)) {
            status = replace(g, &m, options, error);
        } else {
            status = unpack_at(g, i, options, error);
        }
    }
    arena_fini(&memory);
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
