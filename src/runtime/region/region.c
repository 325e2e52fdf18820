/* Finds chains of convolutions behind masks. */
#include "runtime/region/region.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "runtime/fuse.h"
#include "runtime/integer/match.h"
#include "runtime/layout/layout.h"

/* ---- layers as nodes ---- */

int region_layer_count(const graph_node *n)
{
    int64_t count;

    if (strcmp(n->domain, REGION_DOMAIN) != 0) {
        return 0;
    }
    (void)graph_attribute_ints(n, REGION_LAYERS, &count);
    return (int)(count / REGION_RECORD);
}

static region_record read_record(const graph_node *n, int layer)
{
    int64_t count;
    const int64_t *ints = graph_attribute_ints(n, REGION_LAYERS, &count);
    region_record r;

    memcpy(&r, ints + layer * REGION_RECORD, sizeof r);
    return r;
}

void region_read_layer(const graph_node *n, int layer, region_layer_node *l)
{
    region_record r = read_record(n, layer);

    memcpy(l->inputs, n->inputs + r.first_port, (size_t)r.ports * sizeof *l->inputs);
    l->inputs[0] = (int32_t)r.input;
    l->output = (int32_t)r.output;
    l->node = (graph_node){.name = n->name,
                           .type = r.is_integer ? "QLinearConv" : "Conv",
                           .domain = r.is_integer ? INTEGER_DOMAIN : FUSE_DOMAIN,
                           .inputs = l->inputs,
                           .input_count = (int32_t)r.ports,
                           .outputs = &l->output,
                           .output_count = 1,
                           .attributes = n->attributes + r.first_attribute,
                           .attribute_count = (int32_t)r.attributes,
                           .opset = n->opset,
                           .op = n->op};
}

/* What all pixels would cost. */
static void region_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    for (int i = 0; i < region_layer_count(w->node); i++) {
        int64_t count = read_record(w->node, i).macs;

        *macs += count;
        *flops += 2 * count;
    }
}

/* In place: the last layer writes when the first has read all, and copies what it reads itself
 * where it is the only one. */
static const op region_op = {.name = REGION_TYPE,
                             .domain = REGION_DOMAIN,
                             .min_inputs = REGION_PORTS,
                             .max_inputs = OP_VARIADIC,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .flags = OP_IN_PLACE,
                             .run = chain_refuse_to_run,
                             .cost = region_cost};

/* ---- matching ---- */

typedef struct region_match {
    graph *g;
    const graph_uses *uses;
    int32_t layers[REGION_MOST_LAYERS]; /* nodes, the last one first */
    int layer_count;
    int32_t mul;
    int32_t removed[4]; /* nodes after Mul */
    int removed_count;
    int32_t ports[REGION_PORTS];
    int mask_row_axis;
    int32_t bytes; /* the masked results as bytes, before the sum; or GRAPH_NONE */
    chain_end end;
} region_match;

static const graph_node *producer_of(const graph *g, int32_t id)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;

    return producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
}

static bool has_text(const graph_node *n, const char *name, const char *text)
{
    return strcmp(graph_attribute_string(n, name, ""), text) == 0;
}

/* Repeats every element: a size is given for each axis, and coordinates are rounded down. */
static bool is_repetition(const graph *g, const graph_node *n)
{
    return graph_node_is(n, "Resize") && n->opset >= 11 && has_text(n, "mode", "nearest") &&
           has_text(n, "nearest_mode", "floor") &&
           has_text(n, "coordinate_transformation_mode", "asymmetric") &&
           chain_input(n, 3) != GRAPH_NONE && graph_attribute_find(n, "axes") == NULL &&
           graph_attribute_find(n, "keep_aspect_ratio_policy") == NULL &&
           graph_type_is_static(&g->values[n->inputs[0]].type);
}

/* The same elements in the same order, or each repeated whatever they are. */
static bool is_passing(const graph_node *n)
{
    return graph_node_is(n, "Reshape") || graph_node_is(n, "Identity") ||
           graph_node_is(n, "Squeeze") || graph_node_is(n, "Unsqueeze");
}

/* The axis of rows in the value before, where rows are axis `axis` of `after` and both hold the
 * same images, rows and columns in the same order; 0 when they do not. A column of one pixel does
 * not show by its type alone whether it is planar (rows 2) or channels-last (rows 1). */
static int row_axis_before(const graph_type *before, const graph_type *after, int axis)
{
    const int tried[] = {axis, 3 - axis};

    if (!graph_type_is_static(before) || before->rank != 4 || !graph_type_is_static(after) ||
        after->rank != 4 || before->dims[0].size != after->dims[0].size) {
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        int k = tried[i];

        if (before->dims[k].size == after->dims[axis].size &&
            before->dims[k + 1].size == after->dims[axis + 1].size &&
            before->dims[k == 1 ? 3 : 1].size == 1) {
            return k;
        }
    }
    return 0;
}

/* Is it a mask of one channel whose rows are that axis? */
static bool has_one_channel(const graph_type *t, int axis)
{
    return graph_type_is_static(t) && t->rank == 4 && t->dims[axis == 1 ? 3 : 1].size == 1;
}

/* What a step back from `n` to the value before it does to a mask; `*axis` is that of its rows. */
typedef enum mask_step { MASK_LOST, MASK_KEPT, MASK_REPEATED, MASK_CHANGED } mask_step;

static mask_step step_of(const graph *g, const graph_node *n, int *axis)
{
    bool is_nearest = graph_node_is(n, "Resize") && has_text(n, "mode", "nearest") &&
                      !has_text(n, "coordinate_transformation_mode", "tf_crop_and_resize");

    if (graph_node_is(n, "Cast") || is_passing(n)) {
        int before =
            row_axis_before(&g->values[n->inputs[0]].type, &g->values[n->outputs[0]].type, *axis);

        *axis = before > 0 ? before : *axis;
        return before > 0 ? MASK_KEPT : MASK_CHANGED;
    }
    if (is_repetition(g, n)) {
        return has_one_channel(&g->values[n->inputs[0]].type, *axis) ? MASK_REPEATED : MASK_CHANGED;
    }
    return is_nearest || graph_node_is(n, "Expand") ? MASK_CHANGED : MASK_LOST;
}

/* The value that holds zeros and ones alone and that `id`, which is channels-last, is, or repeats
 * once, or GRAPH_NONE; and the axis of its rows. */
static int32_t find_mask(const graph *g, int32_t id, int *row_axis)
{
    enum { MOST_STEPS = 16 };
    int32_t source = id;
    int axis = 1;
    int repetitions = 0;
    bool is_same = true; /* `source` may move back */

    *row_axis = axis;

    for (int i = 0; i < MOST_STEPS; i++) {
        const graph_node *n = producer_of(g, id);
        int32_t before = n != NULL ? chain_input(n, 0) : GRAPH_NONE;
        mask_step step = before != GRAPH_NONE ? step_of(g, n, &axis) : MASK_LOST;

        if (step == MASK_LOST) {
            return GRAPH_NONE;
        }
        repetitions += step == MASK_REPEATED;
        is_same = is_same && step != MASK_CHANGED && repetitions <= 1;
        if (is_same) {
            source = before;
            *row_axis = axis;
        }
        if (g->values[before].type.dtype == SPRY_DTYPE_BOOL) {
            return source;
        }
        id = before;
    }
    return GRAPH_NONE;
}

/* A mask of the result's pixels, or of whole images. */
static bool fits_mask(const graph *g, int32_t mask, const graph_type *y)
{
    const graph_type *t = &g->values[mask].type;
    bool is_static = graph_type_is_static(t) && graph_type_is_static(y) && t->rank == 4 &&
                     y->rank == 4 && t->dtype == SPRY_DTYPE_F32 && t->dims[3].size == 1;
    bool is_whole = is_static && t->dims[1].size == 1 && t->dims[2].size == 1;

    return is_static &&
           (is_whole ||
            (t->dims[1].size == y->dims[1].size && t->dims[2].size == y->dims[2].size)) &&
           (t->dims[0].size == 1 || t->dims[0].size == y->dims[0].size);
}

static bool is_constant_or_none(const graph *g, int32_t id)
{
    return id == GRAPH_NONE || graph_constant(g, id) != NULL;
}

/* A convolution that can be a layer. */
static bool is_layer(const graph *g, const graph_node *n)
{
    bool is_conv = strcmp(n->type, "Conv") == 0 &&
                   (strcmp(n->domain, FUSE_DOMAIN) == 0 || strcmp(n->domain, LAYOUT_DOMAIN) == 0);
    bool is_integer = strcmp(n->type, "QLinearConv") == 0 && strcmp(n->domain, INTEGER_DOMAIN) == 0;
    int32_t weights = chain_input(n, is_integer ? INTEGER_W : 1);

    return !n->removed && (is_conv || is_integer) && layout_is_nhwc(n) && !layout_reads_planar(n) &&
           n->input_count <= REGION_LAYER_PORTS && weights != GRAPH_NONE &&
           graph_constant(g, weights) != NULL && graph_constant(g, weights)->rank == 4 &&
           (is_integer || (chain_input(n, FUSE_RESIDUAL) == GRAPH_NONE &&
                           is_constant_or_none(g, chain_input(n, FUSE_BIAS))));
}

static bool is_integer_node(const graph_node *n)
{
    return strcmp(n->domain, INTEGER_DOMAIN) == 0;
}

/* The chain that ends with `id`, which node `reader` alone reads. */
static void find_layers(region_match *m, int32_t id, int32_t reader)
{
    const graph *g = m->g;

    while (m->layer_count < REGION_MOST_LAYERS) {
        int32_t producer = g->values[id].producer;

        if (producer == GRAPH_NONE || !is_layer(g, &g->nodes[producer]) ||
            chain_only_user(g, m->uses, id) != reader ||
            (m->layer_count > 0 &&
             is_integer_node(&g->nodes[producer]) != is_integer_node(&g->nodes[m->layers[0]]))) {
            return;
        }
        m->layers[m->layer_count++] = producer;
        id = g->nodes[producer].inputs[0];
        reader = producer;
        m->ports[REGION_X] = id;
    }
}

static void absorb(region_match *m, int32_t node)
{
    m->removed[m->removed_count++] = node;
    m->end.result = m->g->nodes[node].outputs[0];
}

/* Has the layer a clamp or an activation of its own? */
static bool is_finished(const graph_node *n)
{
    return graph_attribute_find(n, FUSE_LOWER) != NULL ||
           graph_attribute_find(n, FUSE_UPPER) != NULL ||
           graph_attribute_find(n, FUSE_ACTIVATION) != NULL;
}

static bool same_images(const graph *g, int32_t a, int32_t b)
{
    return a != GRAPH_NONE && b != GRAPH_NONE && a != b &&
           graph_type_is_static(&g->values[a].type) &&
           graph_type_same(&g->values[a].type, &g->values[b].type);
}

/* Takes in Add and the clamp behind it. */
static void follow_sum(region_match *m)
{
    const graph *g = m->g;
    int32_t user = chain_only_user(g, m->uses, m->end.result);
    const graph_node *n = user != GRAPH_NONE ? &g->nodes[user] : NULL;
    int32_t other;

    if (n == NULL || !graph_node_is(n, "Add") || is_finished(&g->nodes[m->layers[0]])) {
        return;
    }
    other = n->inputs[n->inputs[0] == m->end.result];
    if (!same_images(g, other, m->end.result) || graph_constant(g, other) != NULL) {
        return;
    }
    m->ports[REGION_SHORTCUT] = other;
    absorb(m, user);
    user = chain_only_user(g, m->uses, m->end.result);
    if (user != GRAPH_NONE && chain_take_clamp(g, &g->nodes[user], &m->end)) {
        absorb(m, user);
    }
}

/* Can the last layer round its sums to bytes itself? */
static bool makes_bytes(const region_match *m)
{
    const graph_node *last = &m->g->nodes[m->layers[0]];
    int32_t bias = chain_input(last, INTEGER_BIAS);

    return is_integer_node(last) && chain_input(last, INTEGER_Y_SCALE) == GRAPH_NONE &&
           (bias == GRAPH_NONE || m->g->values[bias].type.dtype == SPRY_DTYPE_I32);
}

/* Takes in QuantizeLinear, and the sum of bytes behind it. The mask does not change what is
 * rounded, so the last layer does it, as it would without a mask. */
static void follow_bytes(region_match *m)
{
    const graph *g = m->g;
    int32_t user = chain_only_user(g, m->uses, m->end.result);
    const graph_node *n = user != GRAPH_NONE ? &g->nodes[user] : NULL;
    int32_t own; /* its port in the sum */

    if (n == NULL || !makes_bytes(m) || !integer_is_plain_linear(g, n, "QuantizeLinear") ||
        tensor_count(integer_constant(g, n, 1)) != 1 ||
        (g->values[n->outputs[0]].type.dtype != SPRY_DTYPE_U8 &&
         g->values[n->outputs[0]].type.dtype != SPRY_DTYPE_I8)) {
        return;
    }
    m->bytes = n->outputs[0];
    m->ports[REGION_SCALE] = n->inputs[1];
    m->ports[REGION_ZERO] = chain_input(n, 2);
    absorb(m, user);
    user = chain_only_user(g, m->uses, m->end.result);
    n = user != GRAPH_NONE ? &g->nodes[user] : NULL;
    if (n == NULL || strcmp(n->type, "QLinearAdd") != 0 || !is_integer_node(n)) {
        return;
    }
    own = n->inputs[INTEGER_X] == m->end.result ? INTEGER_X : INTEGER_W;
    if (!same_images(g, n->inputs[INTEGER_X], n->inputs[INTEGER_W]) ||
        !graph_type_same(&g->values[n->outputs[0]].type, &g->values[m->end.result].type)) {
        return;
    }
    m->ports[REGION_SHORTCUT] = n->inputs[INTEGER_X + INTEGER_W - own];
    m->ports[REGION_SHORTCUT_SCALE] = n->inputs[INTEGER_X + INTEGER_W - own + 1];
    m->ports[REGION_SHORTCUT_ZERO] = n->inputs[INTEGER_X + INTEGER_W - own + 2];
    m->ports[REGION_Y_SCALE] = chain_input(n, INTEGER_Y_SCALE);
    m->ports[REGION_Y_ZERO] = chain_input(n, INTEGER_Y_ZERO);
    m->end.lower = graph_attribute_float(n, FUSE_LOWER, -INFINITY);
    m->end.upper = graph_attribute_float(n, FUSE_UPPER, INFINITY);
    absorb(m, user);
}

static bool match_at(region_match *m, int32_t node)
{
    const graph *g = m->g;
    const graph_node *n = &g->nodes[node];

    if (n->removed || !graph_node_is(n, "Mul") || n->input_count != 2) {
        return false;
    }
    for (int32_t i = 0; i < 2 && m->layer_count == 0; i++) {
        int32_t mask = n->inputs[1 - i];

        if (fits_mask(g, mask, &g->values[n->inputs[i]].type)) {
            m->ports[REGION_MASK] = find_mask(g, mask, &m->mask_row_axis);
        }
        if (m->ports[REGION_MASK] != GRAPH_NONE) {
            find_layers(m, n->inputs[i], node);
        }
    }
    if (m->layer_count == 0) {
        return false;
    }
    m->mul = node;
    m->end.result = n->outputs[0];
    follow_bytes(m);
    if (m->ports[REGION_SCALE] == GRAPH_NONE) {
        follow_sum(m);
    }
    return true;
}

/* ---- rewriting ---- */

/* Do all numbers of the value lie within [lower, upper], as far as its producer says? */
static bool is_within(const graph *g, int32_t id, float lower, float upper)
{
    enum { MOST_STEPS = 4 };
    const graph_node *n = producer_of(g, id);

    for (int i = 0; n != NULL && i < MOST_STEPS && strcmp(n->type, "MaxPool") == 0; i++) {
        n = producer_of(g, n->inputs[0]);
    }
    if (n == NULL) {
        return false;
    }
    if (graph_node_is(n, "Relu")) {
        return lower <= 0.0f && upper == INFINITY;
    }
    if (strcmp(n->domain, REGION_DOMAIN) == 0) {
        return graph_attribute_float(n, REGION_LOWER, -INFINITY) >= lower &&
               graph_attribute_float(n, REGION_UPPER, INFINITY) <= upper;
    }
    return strcmp(n->domain, FUSE_DOMAIN) == 0 &&
           graph_attribute_float(n, FUSE_LOWER, -INFINITY) >= lower &&
           graph_attribute_float(n, FUSE_UPPER, INFINITY) <= upper;
}

static int64_t macs_of(const graph *g, const graph_node *n)
{
    const tensor *weights = graph_constant(g, n->inputs[is_integer_node(n) ? INTEGER_W : 1]);

    return op_work_count(&g->values[n->outputs[0]].type) *
           (tensor_count(weights) / weights->shape[0]);
}

/* Inputs of a layer; one that rounds what its node does not has more. */
static int32_t ports_of(const region_match *m, int32_t node)
{
    int32_t count = m->g->nodes[node].input_count;

    return node == m->layers[0] && m->bytes != GRAPH_NONE && count <= INTEGER_Y_ZERO
               ? INTEGER_Y_ZERO + 1
               : count;
}

static int32_t port_of(const region_match *m, int32_t node, int32_t port)
{
    if (node == m->layers[0] && m->bytes != GRAPH_NONE && port == INTEGER_Y_SCALE) {
        return m->ports[REGION_SCALE];
    }
    if (node == m->layers[0] && m->bytes != GRAPH_NONE && port == INTEGER_Y_ZERO) {
        return m->ports[REGION_ZERO];
    }
    return port == 0 ? GRAPH_NONE : chain_input(&m->g->nodes[node], port);
}

/* Ports, attributes and records of all layers, put one after the other. */
static spry_status join_layers(region_match *m, graph_node *r, int64_t *records, spry_error *error)
{
    const graph *g = m->g;
    int32_t ports = REGION_PORTS;
    int32_t attributes = 0;

    for (int i = 0; i < m->layer_count; i++) {
        ports += ports_of(m, m->layers[i]);
        attributes += g->nodes[m->layers[i]].attribute_count;
    }
    r->inputs = arena_array(g->memory, (size_t)ports, sizeof *r->inputs);
    r->attributes = arena_array(g->memory, (size_t)attributes + 1, sizeof *r->attributes);
    if (r->inputs == NULL || r->attributes == NULL) {
        return alloc_failed(error, (size_t)attributes * sizeof *r->attributes);
    }
    memcpy(r->inputs, m->ports, sizeof m->ports);
    r->input_count = REGION_PORTS;
    for (int i = 0; i < m->layer_count; i++) {
        int32_t node = m->layers[m->layer_count - 1 - i];
        const graph_node *n = &g->nodes[node];
        bool is_last = i + 1 == m->layer_count;
        region_record record = {.first_port = r->input_count,
                                .ports = ports_of(m, node),
                                .first_attribute = r->attribute_count,
                                .attributes = n->attribute_count,
                                .input = n->inputs[0],
                                .output =
                                    is_last && m->bytes != GRAPH_NONE ? m->bytes : n->outputs[0],
                                .is_integer = is_integer_node(n),
                                .macs = macs_of(g, n)};

        for (int32_t k = 0; k < record.ports; k++) {
            r->inputs[r->input_count++] = port_of(m, node, k);
        }
        for (int32_t k = 0; k < n->attribute_count; k++) {
            r->attributes[r->attribute_count++] = n->attributes[k];
        }
        memcpy(records + i * REGION_RECORD, &record, sizeof record);
    }
    return SPRY_OK;
}

/* The region's own attributes come after those of layers. */
static spry_status set_attributes(const region_match *m, int32_t node, const int64_t *records,
                                  spry_error *error)
{
    graph *g = m->g;
    int32_t shortcut = m->ports[REGION_SHORTCUT];
    spry_status status =
        graph_set_ints(g, node, REGION_LAYERS, m->layer_count * REGION_RECORD, records, error);

    if (status == SPRY_OK) {
        status = graph_set_int(g, node, REGION_MASK_ROWS, m->mask_row_axis, error);
    }
    if (status == SPRY_OK && m->end.lower > -INFINITY) {
        status = graph_set_float(g, node, REGION_LOWER, m->end.lower, error);
    }
    if (status == SPRY_OK && m->end.upper < INFINITY) {
        status = graph_set_float(g, node, REGION_UPPER, m->end.upper, error);
    }
    if (status == SPRY_OK && shortcut != GRAPH_NONE && m->ports[REGION_SCALE] == GRAPH_NONE) {
        status = graph_set_int(g, node, REGION_KEEPS,
                               is_within(g, shortcut, m->end.lower, m->end.upper), error);
    }
    return status;
}

static void remove_parts(const region_match *m)
{
    graph_remove_node(m->g, m->mul);
    for (int i = 0; i < m->layer_count; i++) {
        graph_remove_node(m->g, m->layers[i]);
    }
    for (int i = 0; i < m->removed_count; i++) {
        graph_remove_node(m->g, m->removed[i]);
    }
}

static spry_status region_at(graph *g, const graph_uses *uses, int32_t node,
                             const spry_session_options *options, spry_error *error)
{
    region_match m = {
        .g = g, .uses = uses, .bytes = GRAPH_NONE, .end = {.lower = -INFINITY, .upper = INFINITY}};
    int64_t records[REGION_MOST_LAYERS * REGION_RECORD];
    graph_node r = {.type = REGION_TYPE, .domain = REGION_DOMAIN, .overload = "", .opset = 1};
    provider_site site = {.g = g, .options = options};
    int32_t made;
    spry_status status;

    for (int i = 0; i < REGION_PORTS; i++) {
        m.ports[i] = GRAPH_NONE;
    }
    if (!match_at(&m, node)) {
        return SPRY_OK;
    }
    status = join_layers(&m, &r, records, error);
    if (status == SPRY_OK) {
        status = graph_add_node(g, REGION_TYPE, REGION_DOMAIN, 1, 0, 1, &made, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    r.name = g->nodes[m.layers[0]].name;
    r.outputs = g->nodes[made].outputs;
    r.output_count = 1;
    r.outputs[0] = m.end.result;
    r.op = &region_op;
    g->nodes[made] = r;
    site.node = &g->nodes[made];
    status = set_attributes(&m, made, records, error);
    site.node = &g->nodes[made];
    if (status != SPRY_OK || provider_find(&site) == NULL) {
        g->nodes[made].outputs[0] = GRAPH_NONE;
        graph_remove_node(g, made);
        return status;
    }
    remove_parts(&m);
    graph_set_output(g, made, 0, m.end.result);
    return SPRY_OK;
}

spry_status region_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    pass_context context = {0};
    int32_t nodes = g->node_count;
    arena memory;
    graph_uses uses;
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < nodes; i++) {
        status = region_at(g, &uses, i, options, error);
    }
    arena_fini(&memory);
    if (status == SPRY_OK) {
        status = graph_sort(g, error);
    }
    return status == SPRY_OK ? pass_dead(g, &context, error) : status; /* repeated masks */
}
