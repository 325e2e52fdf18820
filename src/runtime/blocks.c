/* Finds products with weights in blocks. */
#include "runtime/blocks.h"

#include <string.h>

#include "base/alloc.h"
#include "runtime/chain.h"
#include "runtime/integer/match.h"

static const op blocks_op = {.name = "Blocks",
                             .domain = BLOCKS_DOMAIN,
                             .min_inputs = 2,
                             .max_inputs = BLOCKS_PORTS,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .run = chain_refuse_to_run,
                             .cost = chain_cost};

/* What becomes one node. */
typedef struct match {
    const graph *g;
    int32_t node;
    quantised x;
    int32_t ports[BLOCKS_PORTS];
    int64_t block, axis;
    const tensor *shape; /* of Reshape, or NULL */
} match;

static const graph_node *producer_of(const graph *g, int32_t id)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;

    return producer != GRAPH_NONE && !g->nodes[producer].removed ? &g->nodes[producer] : NULL;
}

/* The weights' axis of input channels. */
static int64_t channel_axis(const graph_node *n)
{
    return graph_node_is(n, "Conv") || graph_attribute_int(n, "transB", 0) != 0 ? 1 : 0;
}

/* Does a Reshape of what `n` dequantizes change nothing? */
static bool keeps_shape(const graph *g, const graph_node *n, const tensor *shape)
{
    const tensor *codes = graph_constant(g, chain_input(n, 0));

    return codes != NULL && shape->dtype == SPRY_DTYPE_I64 && tensor_count(shape) == codes->rank &&
           memcmp(shape->data, codes->shape, (size_t)codes->rank * sizeof(int64_t)) == 0;
}

/* Follows the weights back to their codes. */
static bool read_weights(match *m, const graph_node *n)
{
    const graph *g = m->g;
    const graph_node *from = producer_of(g, chain_input(n, 1));
    int64_t axis;

    m->ports[BLOCKS_PLACES] = GRAPH_NONE;
    m->shape = NULL;
    if (from != NULL && graph_node_is(from, "Gather") &&
        graph_attribute_int(from, "axis", 0) == channel_axis(n)) {
        m->ports[BLOCKS_PLACES] = chain_input(from, 1);
        from = producer_of(g, chain_input(from, 0));
    }
    if (from != NULL && graph_node_is(from, "Reshape")) {
        m->shape = integer_constant(g, from, 1);
        from = m->shape != NULL ? producer_of(g, chain_input(from, 0)) : NULL;
    }
    if (from == NULL || !graph_node_is(from, "DequantizeLinear") ||
        chain_input(from, 2) != GRAPH_NONE ||
        (graph_node_is(n, "Conv") ? m->shape == NULL
                                  : m->shape != NULL && !keeps_shape(g, from, m->shape))) {
        return false;
    }
    axis = graph_attribute_int(from, "axis", 1);
    m->axis = axis < 0 ? axis + 2 : axis;
    m->block = graph_attribute_int(from, "block_size", 0);
    m->ports[BLOCKS_CODES] = chain_input(from, 0);
    m->ports[BLOCKS_SCALES] = chain_input(from, 1);
    return m->block > 0 && m->axis == channel_axis(n);
}

static bool find_match(match *m)
{
    const graph_node *n = &m->g->nodes[m->node];
    bool is_gemm = graph_node_is(n, "Gemm");

    if (n->removed || (!graph_node_is(n, "Conv") && !graph_node_is(n, "MatMul") && !is_gemm) ||
        (is_gemm && (graph_attribute_float(n, "alpha", 1.0f) != 1.0f ||
                     graph_attribute_float(n, "beta", 1.0f) != 1.0f ||
                     graph_attribute_int(n, "transA", 0) != 0)) ||
        !integer_read_activation(m->g, chain_input(n, 0), &m->x) || !read_weights(m, n)) {
        return false;
    }
    m->ports[BLOCKS_X] = m->x.data;
    m->ports[BLOCKS_X_SCALE] = m->x.scale;
    m->ports[BLOCKS_X_ZERO] = m->x.zero;
    m->ports[BLOCKS_BIAS] = chain_input(n, 2);
    return true;
}

/* Makes the operator the new node, where a provider executes that. */
static spry_status replace(graph *g, const match *m, const spry_session_options *options,
                           spry_error *error)
{
    int32_t *ports = arena_array(g->memory, BLOCKS_PORTS, sizeof *ports);
    provider_site site = {.g = g, .options = options};
    graph_node n;
    spry_status status;

    if (ports == NULL) {
        return alloc_failed(error, BLOCKS_PORTS * sizeof *ports);
    }
    status = graph_set_int(g, m->node, BLOCKS_SIZE, m->block, error);
    if (status == SPRY_OK) {
        status = graph_set_int(g, m->node, BLOCKS_AXIS, m->axis, error);
    }
    if (status == SPRY_OK && m->shape != NULL && tensor_count(m->shape) > 2 &&
        m->shape->dtype == SPRY_DTYPE_I64) {
        status = graph_set_ints(g, m->node, BLOCKS_KERNEL, tensor_count(m->shape) - 2,
                                (const int64_t *)m->shape->data + 2, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    memcpy(ports, m->ports, sizeof m->ports);
    n = g->nodes[m->node];
    n.domain = BLOCKS_DOMAIN;
    n.inputs = ports;
    n.input_count = BLOCKS_PORTS;
    n.op = &blocks_op;
    site.node = &n;
    if (provider_find(&site) != NULL) {
        g->nodes[m->node] = n;
    }
    return SPRY_OK;
}

spry_status blocks_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    int32_t count = g->node_count;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        match m = {.g = g, .node = i};

        if (find_match(&m)) {
            status = replace(g, &m, options, error);
        }
    }
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
