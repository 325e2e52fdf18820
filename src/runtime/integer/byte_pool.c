/* Lets average pools read bytes. */
#include "runtime/integer/byte_pool.h"

#include <string.h>

#include "base/alloc.h"
#include "runtime/chain.h"
#include "runtime/integer/match.h"
#include "runtime/layout/layout.h"

/* Cost is that of floats. */
static const op byte_pool_op = {.name = "AveragePool",
                                .domain = LAYOUT_DOMAIN,
                                .min_inputs = BYTE_POOL_PORTS,
                                .max_inputs = BYTE_POOL_PORTS,
                                .min_outputs = 1,
                                .max_outputs = 1,
                                .run = chain_refuse_to_run,
                                .cost = chain_cost};

static bool is_average(const graph_node *n)
{
    return !n->removed && strcmp(n->domain, LAYOUT_DOMAIN) == 0 && layout_is_nhwc(n) &&
           !layout_reads_planar(n) && n->input_count == 1 &&
           (strcmp(n->type, "AveragePool") == 0 || strcmp(n->type, "GlobalAveragePool") == 0);
}

static spry_status pool_at(graph *g, int32_t node, const spry_session_options *options,
                           spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    graph_node pool = *n;
    provider_site site = {.g = g, .node = &pool, .options = options};
    quantised q;

    if (!is_average(n) || !integer_read_activation(g, n->inputs[0], &q)) {
        return SPRY_OK;
    }
    pool.inputs = arena_array(g->memory, BYTE_POOL_PORTS, sizeof *pool.inputs);
    if (pool.inputs == NULL) {
        return alloc_failed(error, BYTE_POOL_PORTS * sizeof *pool.inputs);
    }
    pool.inputs[0] = q.data;
    pool.inputs[BYTE_POOL_SCALE] = q.scale;
    pool.inputs[BYTE_POOL_ZERO] = q.zero;
    pool.input_count = BYTE_POOL_PORTS;
    pool.op = &byte_pool_op;
    if (provider_find(&site) != NULL) {
        g->nodes[node] = pool;
    }
    return SPRY_OK;
}

spry_status byte_pool_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        status = pool_at(g, i, options, error);
    }
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
