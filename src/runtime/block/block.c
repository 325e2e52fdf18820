/* Makes one node of the layers that the caller names. */
#include "runtime/block/block.h"

#include <string.h>

#include "base/alloc.h"
#include "runtime/chain.h"

static void block_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    int64_t count;
    const int64_t *records = graph_attribute_ints(w->node, BLOCK_LAYERS, &count);

    for (int64_t i = 0; i < count; i += BLOCK_RECORD) {
        block_record r;

        memcpy(&r, records + i, sizeof r);
        *macs += r.macs;
        *flops += 2 * r.macs;
    }
}

static const op block_op = {.name = BLOCK_TYPE,
                            .domain = BLOCK_DOMAIN,
                            .min_inputs = 1,
                            .max_inputs = OP_VARIADIC,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .run = chain_refuse_to_run,
                            .cost = block_cost};

/* ---- what was asked for ---- */

typedef struct block_request {
    graph *g;
    const graph_uses *uses;
    const spry_block *asked;
    int32_t nodes[BLOCK_MOST_LAYERS];
    spry_error *error;
} block_request;

static spry_status refuse(const block_request *r, int32_t layer, const char *why)
{
    return spry_fail(r->error, SPRY_USAGE, r->asked->layers[layer],
                     "spry_session_layers tells what can be in a block",
                     "layer '%s' cannot be in this block: %s", r->asked->layers[layer], why);
}

static spry_status find_nodes(block_request *r)
{
    for (int32_t i = 0; i < r->asked->layer_count; i++) {
        int32_t id = graph_find_value(r->g, r->asked->layers[i]);
        int32_t node = id != GRAPH_NONE ? r->g->values[id].producer : GRAPH_NONE;

        if (node == GRAPH_NONE || r->g->nodes[node].outputs[0] != id) {
            return refuse(r, i, "the plan has no layer of this name");
        }
        for (int32_t k = 0; k < i; k++) {
            if (r->nodes[k] == node) {
                return refuse(r, i, "it is named twice");
            }
        }
        r->nodes[i] = node;
    }
    return SPRY_OK;
}

/* The place of the layer that makes the value, among the first `end`, or -1. */
static int32_t maker_of(const block_request *r, int32_t id, int32_t end)
{
    for (int32_t i = 0; id != GRAPH_NONE && i < end; i++) {
        if (r->g->nodes[r->nodes[i]].outputs[0] == id) {
            return i;
        }
    }
    return -1;
}

static bool is_in_block(const block_request *r, int32_t node)
{
    for (int32_t i = 0; i < r->asked->layer_count; i++) {
        if (r->nodes[i] == node) {
            return true;
        }
    }
    return false;
}

/* Is the layer's result read inside alone? */
static bool is_hidden(const block_request *r, int32_t id)
{
    const graph_uses *uses = r->uses;
    bool is_read = false;

    for (int32_t u = uses->offsets[id]; u < uses->offsets[id + 1]; u++) {
        if (!is_in_block(r, uses->users[u])) {
            return false;
        }
        is_read = true;
    }
    return is_read && !r->g->values[id].is_output;
}

/* Reads layer `i` its images from layers before it, and constants for the rest? */
static spry_status check_ports(const block_request *r, int32_t i)
{
    const graph_node *n = &r->g->nodes[r->nodes[i]];
    int other = block_other_port(n);

    for (int32_t p = 0; p < n->input_count; p++) {
        bool is_image = p == 0 || p == other;
        int32_t maker = maker_of(r, n->inputs[p], r->asked->layer_count);

        if (maker >= i || (maker >= 0 && !is_image)) {
            return refuse(r, i, "it reads what a layer after it makes");
        }
    }
    return SPRY_OK;
}

static spry_status check_layer(const block_request *r, const spry_session_options *options,
                               int32_t i)
{
    const graph_node *n = &r->g->nodes[r->nodes[i]];
    provider_site site = {.g = r->g, .node = n, .options = options};
    bool is_last = i + 1 == r->asked->layer_count;
    conv_f32_shape shape;

    if (n->input_count > BLOCK_LAYER_PORTS || provider_strips_find(&site, &shape) == NULL) {
        return refuse(r, i, "what executes it does not work by strips");
    }
    if (r->g->values[n->outputs[0]].type.dims[0].size !=
        r->g->values[r->g->nodes[r->nodes[0]].outputs[0]].type.dims[0].size) {
        return refuse(r, i, "it has another number of images");
    }
    if (!is_last && !is_hidden(r, n->outputs[0])) {
        return refuse(r, i, "its result is read outside the block, or by nobody");
    }
    return check_ports(r, i);
}

/* ---- rewriting ---- */

static spry_text text_of(const char *text)
{
    return (spry_text){.data = text, .size = strlen(text)};
}

/* Ports, attributes, names and records of all layers, one after the other. */
static spry_status join_layers(const block_request *r, graph_node *n, int64_t *records,
                               int64_t *values, spry_text *names)
{
    const graph *g = r->g;

    n->inputs =
        arena_array(g->memory, (size_t)BLOCK_MOST_LAYERS * BLOCK_LAYER_PORTS, sizeof *n->inputs);
    n->input_count = 0;
    n->attribute_count = 0;
    for (int32_t i = 0; i < r->asked->layer_count; i++) {
        n->attribute_count += g->nodes[r->nodes[i]].attribute_count;
    }
    n->attributes = arena_array(g->memory, (size_t)n->attribute_count + 1, sizeof *n->attributes);
    if (n->inputs == NULL || n->attributes == NULL) {
        return alloc_failed(r->error, (size_t)n->attribute_count * sizeof *n->attributes);
    }
    n->attribute_count = 0;
    for (int32_t i = 0; i < r->asked->layer_count; i++) {
        const graph_node *l = &g->nodes[r->nodes[i]];
        block_record record = {.first_port = n->input_count,
                               .ports = l->input_count,
                               .first_attribute = n->attribute_count,
                               .attributes = l->attribute_count,
                               .output = l->outputs[0],
                               .opset = l->opset,
                               .macs = block_macs(g, l)};

        for (int32_t p = 0; p < l->input_count; p++) {
            bool is_inside = maker_of(r, l->inputs[p], i) >= 0;

            values[n->input_count] = l->inputs[p];
            n->inputs[n->input_count++] = is_inside ? GRAPH_NONE : l->inputs[p];
        }
        for (int32_t k = 0; k < l->attribute_count; k++) {
            n->attributes[n->attribute_count++] = l->attributes[k];
        }
        memcpy(records + (ptrdiff_t)i * BLOCK_RECORD, &record, sizeof record);
        names[2 * i] = text_of(l->type);
        names[2 * i + 1] = text_of(l->domain);
    }
    return SPRY_OK;
}

/* The block's own attributes come after those of layers. */
static spry_status set_attributes(const block_request *r, int32_t node, const int64_t *records,
                                  const int64_t *values, const spry_text *names)
{
    graph *g = r->g;
    const spry_block *asked = r->asked;
    const graph_attribute named = {.name = BLOCK_NAMES,
                                   .kind = GRAPH_ATTRIBUTE_STRINGS,
                                   .count = 2 * asked->layer_count,
                                   .as.strings = names,
                                   .doc = ""};
    spry_status status = graph_set_ints(
        g, node, BLOCK_LAYERS, (int64_t)asked->layer_count * BLOCK_RECORD, records, r->error);

    if (status == SPRY_OK) {
        status =
            graph_set_ints(g, node, BLOCK_VALUES, g->nodes[node].input_count, values, r->error);
    }
    if (status == SPRY_OK) {
        status = graph_set_attribute(g, node, &named, r->error);
    }
    if (status == SPRY_OK) {
        status = graph_set_int(g, node, BLOCK_STRIP, asked->strip, r->error);
    }
    return status == SPRY_OK ? graph_set_int(g, node, BLOCK_CHUNK, asked->chunk, r->error) : status;
}

static spry_status join(block_request *r)
{
    graph *g = r->g;
    int32_t count = r->asked->layer_count;
    int32_t last = r->nodes[count - 1];
    int64_t records[BLOCK_MOST_LAYERS * BLOCK_RECORD];
    int64_t values[BLOCK_MOST_LAYERS * BLOCK_LAYER_PORTS];
    spry_text *names = arena_array(g->memory, 2 * (size_t)count, sizeof *names);
    graph_node n = g->nodes[last];
    spry_status status;

    if (names == NULL) {
        return alloc_failed(r->error, 2 * (size_t)count * sizeof *names);
    }
    status = join_layers(r, &n, records, values, names);
    if (status != SPRY_OK) {
        return status;
    }
    n.type = BLOCK_TYPE;
    n.domain = BLOCK_DOMAIN;
    n.opset = 1;
    n.op = &block_op;
    g->nodes[last] = n;
    for (int32_t i = 0; i + 1 < count; i++) {
        graph_remove_node(g, r->nodes[i]);
    }
    return set_attributes(r, last, records, values, names);
}

static spry_status make_block(block_request *r, const spry_session_options *options)
{
    const spry_block *asked = r->asked;
    spry_status status;

    if (asked->layer_count < 1 || asked->layer_count > BLOCK_MOST_LAYERS || asked->threads < 0 ||
        asked->strip < 0 || asked->chunk < 0) {
        return spry_fail(r->error, SPRY_USAGE, "blocks", NULL,
                         "a block has 1 to %d layers, and no negative numbers", BLOCK_MOST_LAYERS);
    }
    status = find_nodes(r);
    for (int32_t i = 0; asked->layer_count > 1 && status == SPRY_OK && i < asked->layer_count;
         i++) {
        status = check_layer(r, options, i);
    }
    if (status == SPRY_OK && asked->layer_count > 1) {
        status = join(r);
    }
    if (status == SPRY_OK && asked->threads > 0) {
        status = graph_set_int(r->g, r->nodes[asked->layer_count - 1], BLOCK_THREADS,
                               asked->threads, r->error);
    }
    return status;
}

spry_status block_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    arena memory;
    graph_uses uses;
    spry_status status = SPRY_OK;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    for (int64_t i = 0; status == SPRY_OK && i < options->blocks->count; i++) {
        block_request r = {
            .g = g, .uses = &uses, .asked = &options->blocks->blocks[i], .error = error};

        arena_reset(&memory);
        status = graph_find_uses(g, &memory, &uses, error); /* blocks change them */
        if (status == SPRY_OK) {
            status = make_block(&r, options);
        }
    }
    arena_fini(&memory);
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
