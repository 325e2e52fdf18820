/* The layers of a graph. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/block/block.h"
#include "runtime/chain.h"
#include "runtime/integer/integer.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"

/* Port of the weights: -1 for pools and sums; -2 where the node is no layer. */
enum { NO_WEIGHTS = -1, NO_LAYER = -2 };

static int weights_port(const graph_node *n)
{
    static const struct {
        const char *type;
        int port;
    } known[] = {{"Conv", 1},
                 {"ConvInteger", 1},
                 {"QLinearConv", INTEGER_W},
                 {"MaxPool", NO_WEIGHTS},
                 {"AveragePool", NO_WEIGHTS},
                 {"QLinearAdd", NO_WEIGHTS},
                 {"Add", NO_WEIGHTS}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(n->type, known[i].type) == 0) {
            return known[i].port;
        }
    }
    return NO_LAYER;
}

int block_other_port(const graph_node *n)
{
    if (strcmp(n->type, "Conv") == 0 || strcmp(n->type, "QLinearAdd") == 0) {
        return STRIPS_OTHER;
    }
    return strcmp(n->type, "Add") == 0 ? 1 : -1;
}

static bool is_sum(const graph_node *n)
{
    return strcmp(n->type, "Add") == 0 || strcmp(n->type, "QLinearAdd") == 0;
}

static const graph_type *image_type(const graph *g, int32_t id)
{
    const graph_type *t = id != GRAPH_NONE ? &g->values[id].type : NULL;

    return t != NULL && graph_type_is_static(t) && t->rank == 4 ? t : NULL;
}

/* Sums of images are layers, those of numbers per channel are not. */
static bool is_layer(const graph *g, const graph_node *n)
{
    const graph_type *x;
    const graph_type *y;

    if (n->removed || weights_port(n) == NO_LAYER || n->output_count < 1) {
        return false;
    }
    x = image_type(g, n->inputs[0]);
    y = image_type(g, n->outputs[0]);
    if (x == NULL || y == NULL) {
        return false;
    }
    if (is_sum(n)) {
        const graph_type *other = image_type(g, chain_input(n, block_other_port(n)));

        return other != NULL && graph_type_same(x, other) && op_work_count(x) == op_work_count(y);
    }
    return true;
}

/* ---- facts of one layer ---- */

static void set_image(const graph_type *t, bool is_planar, int64_t to[3])
{
    to[0] = t->dims[is_planar ? 1 : 3].size;
    to[1] = t->dims[is_planar ? 2 : 1].size;
    to[2] = t->dims[is_planar ? 3 : 2].size;
}

static void set_window(const provider_site *site, spry_layer *l)
{
    const graph_node *n = site->node;
    const graph_type *x = provider_input_type(site, 0);
    int port = weights_port(n);
    const graph_type *weights = port >= 0 ? provider_input_type(site, port) : NULL;
    int64_t shape[SPRY_TENSOR_MAX_RANK] = {0};
    window w;
    bool known;

    for (int i = 0; i < 2; i++) {
        l->kernel[i] = l->stride[i] = l->dilation[i] = 1;
    }
    for (int i = 0; weights != NULL && i < weights->rank; i++) {
        shape[i] = weights->dims[i].size;
    }
    l->groups = 1;
    if (weights != NULL && shape[1] > 0) {
        l->groups = l->in[0] / shape[1];
    }
    if (is_sum(n) || (port >= 0 && weights == NULL)) {
        return;
    }
    known =
        weights != NULL ? provider_window(site, x, shape, &w) : provider_pool_window(site, x, &w);
    for (int i = 0; known && i < 2; i++) {
        l->kernel[i] = w.kernel[i];
        l->stride[i] = w.stride[i];
        l->pad[i] = w.pad_begin[i];
        l->dilation[i] = w.dilation[i];
    }
}

static void set_layer(const provider_site *site, spry_layer *l)
{
    const graph_node *n = site->node;
    const graph *g = site->g;
    const graph_value *y = &g->values[n->outputs[0]];
    const graph_type *x = provider_input_type(site, 0);
    int port = weights_port(n);
    bool is_moved = layout_is_nhwc(n) || is_sum(n);
    conv_f32_shape shape;

    l->name = y->name;
    l->type = n->type;
    set_image(x, !is_moved || layout_reads_planar(n), l->in);
    set_image(&y->type, !is_moved, l->out);
    set_window(site, l);
    l->batch = y->type.dims[0].size;
    l->macs = l->batch > 0 ? block_macs(g, n) / l->batch : 0;
    l->element_bytes = (int32_t)(spry_dtype_bits(y->type.dtype) / 8);
    if (port >= 0) {
        const graph_type *w = &g->values[n->inputs[port]].type;

        l->weight_bytes = op_work_count(w) * (int64_t)spry_dtype_bits(w->dtype) / 8;
    }
    l->is_output = y->is_output;
    l->can_stream =
        n->input_count <= BLOCK_LAYER_PORTS && provider_strips_find(site, &shape) != NULL;
}

/* ---- the list ---- */

/* Images that the node reads: its first, and one that is added. */
static void set_inputs(const graph_node *n, const int32_t *layer_of, spry_layer *l)
{
    int port = block_other_port(n);
    int32_t other = port >= 0 ? chain_input(n, port) : GRAPH_NONE;

    l->inputs[l->input_count++] = layer_of[n->inputs[0]];
    if (other != GRAPH_NONE) {
        l->inputs[l->input_count++] = layer_of[other];
    }
}

spry_status block_list(const graph *g, const spry_session_options *options, arena *memory,
                       spry_layer **layers, int32_t *count, spry_error *error)
{
    int32_t *layer_of = arena_array(memory, (size_t)g->value_count + 1, sizeof *layer_of);
    graph_uses uses;
    spry_status status = graph_find_uses(g, memory, &uses, error);

    *layers = arena_array(memory, (size_t)g->node_count + 1, sizeof **layers);
    *count = 0;
    if (layer_of == NULL || *layers == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof **layers);
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        layer_of[i] = -1;
    }
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        provider_site site = {.g = g, .node = n, .options = options};
        spry_layer *l = &(*layers)[*count];

        if (!is_layer(g, n)) {
            continue;
        }
        set_layer(&site, l);
        set_inputs(n, layer_of, l);
        l->readers = uses.offsets[n->outputs[0] + 1] - uses.offsets[n->outputs[0]];
        layer_of[n->outputs[0]] = (*count)++;
    }
    return status;
}
