/* Finds pairs of convolutions whose image in between need not be in memory. */
#include "runtime/pair.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"

enum { LEAST_BYTES = 9 << 16 }; /* of the image in between: over half of a second-level cache */

/* What both do: the depthwise one as its operator says, and a product per pixel. */
static void pair_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *x = w->inputs[0];
    const graph_type *weights = w->inputs[PAIR_FIRST_WEIGHTS];
    op_work second = *w;
    int64_t first = op_work_count(x) / x->dims[x->rank - 1].size * op_work_count(weights);

    second.input_count = PAIR_FIRST_WEIGHTS;
    chain_cost(&second, macs, flops);
    *macs += first;
    *flops += 2 * first;
}

static const op pair_op = {.name = "Pair",
                           .domain = PAIR_DOMAIN,
                           .min_inputs = PAIR_PORTS,
                           .max_inputs = PAIR_PORTS,
                           .min_outputs = 1,
                           .max_outputs = 1,
                           .run = chain_refuse_to_run,
                           .cost = pair_cost};

static bool is_moved_conv(const graph_node *n)
{
    return !n->removed && strcmp(n->type, "Conv") == 0 && layout_is_nhwc(n) &&
           !layout_reads_planar(n) &&
           (strcmp(n->domain, FUSE_DOMAIN) == 0 || strcmp(n->domain, LAYOUT_DOMAIN) == 0);
}

static bool is_one(const graph_node *n, const char *name)
{
    int64_t count;
    const int64_t *numbers = graph_attribute_ints(n, name, &count);

    for (int64_t i = 0; i < count; i++) {
        if (numbers[i] != 1) {
            return false;
        }
    }
    return true;
}

/* Pixel by pixel: kernels of one pixel, every pixel once, nothing added. */
static bool is_of_pixels(const graph *g, const graph_node *n)
{
    const graph_type *x = &g->values[n->inputs[0]].type;
    const graph_type *y = &g->values[n->outputs[0]].type;
    const tensor *weights = graph_constant(g, n->inputs[1]);

    if (x->rank != 4 || weights == NULL || !is_one(n, "strides") ||
        graph_attribute_int(n, "group", 1) != 1 || weights->shape[2] * weights->shape[3] != 1 ||
        chain_input(n, FUSE_RESIDUAL) != GRAPH_NONE) {
        return false;
    }
    return x->dims[1].size == y->dims[1].size && x->dims[2].size == y->dims[2].size &&
           op_work_count(y) * (int64_t)(spry_dtype_bits(y->dtype) / 8) >= LEAST_BYTES;
}

static spry_status copy_finish(graph *g, const graph_node *first, int32_t node, spry_error *error)
{
    const char *activation = graph_attribute_string(first, FUSE_ACTIVATION, NULL);
    spry_status status = graph_set_float(
        g, node, PAIR_FIRST_LOWER, graph_attribute_float(first, FUSE_LOWER, -INFINITY), error);

    if (status == SPRY_OK) {
        status = graph_set_float(g, node, PAIR_FIRST_UPPER,
                                 graph_attribute_float(first, FUSE_UPPER, INFINITY), error);
    }
    if (status == SPRY_OK && activation != NULL) {
        status = graph_set_string(g, node, PAIR_FIRST_ACTIVATION, activation, error);
    }
    return status;
}

static spry_status pair_at(graph *g, const graph_uses *uses, int32_t node,
                           const spry_session_options *options, spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    int32_t between = n->input_count > 1 ? n->inputs[0] : GRAPH_NONE;
    int32_t producer = between != GRAPH_NONE ? g->values[between].producer : GRAPH_NONE;
    const graph_node *first = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
    graph_node pair = *n;
    provider_site site = {.g = g, .node = &pair, .options = options};
    spry_status status;

    if (first == NULL || !is_moved_conv(n) || !is_moved_conv(first) ||
        chain_only_user(g, uses, between) != node || !is_of_pixels(g, first)) {
        return SPRY_OK;
    }
    pair.inputs = arena_array(g->memory, PAIR_PORTS, sizeof *pair.inputs);
    if (pair.inputs == NULL) {
        return alloc_failed(error, PAIR_PORTS * sizeof *pair.inputs);
    }
    for (int32_t i = 0; i <= FUSE_RESIDUAL; i++) {
        pair.inputs[i] = chain_input(n, i);
    }
    pair.inputs[0] = first->inputs[0];
    pair.inputs[PAIR_FIRST_WEIGHTS] = first->inputs[1];
    pair.inputs[PAIR_FIRST_BIAS] = chain_input(first, FUSE_BIAS);
    pair.input_count = PAIR_PORTS;
    pair.domain = PAIR_DOMAIN;
    pair.op = &pair_op;
    if (provider_find(&site) == NULL) {
        return SPRY_OK;
    }
    g->nodes[node] = pair;
    status = copy_finish(g, first, node, error);
    graph_remove_node(g, producer);
    return status;
}

spry_status pair_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    arena memory;
    graph_uses uses;
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        status = pair_at(g, &uses, i, options, error);
    }
    arena_fini(&memory);
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
