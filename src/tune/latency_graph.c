/* Residual blocks of a model: from each sum both ways back to where they part. */
#include <stdio.h>
#include <string.h>

#include "adapt/rewrite.h"
#include "base/alloc.h"
#include "tune/latency_network.h"

enum { IMAGE_RANK = 4, MOST_STEPS = 64 };

/* A way back from a sum, through convolutions and what costs little beside them. */
typedef struct way {
    int32_t values[MOST_STEPS];   /* passed, from the sum on */
    int convs_before[MOST_STEPS]; /* convolutions between the sum and the value */
    int count;
    int32_t convs[LATENCY_BLOCK_CONVS]; /* nodes, from the sum on */
    int conv_count;
    int32_t scale;    /* value that scales channels (squeeze-and-excitation); GRAPH_NONE: none */
    int scale_before; /* convolutions between the sum and the scaling */
} way;

static const graph_node *producer(const graph *g, int32_t id)
{
    return g->values[id].producer != GRAPH_NONE ? &g->nodes[g->values[id].producer] : NULL;
}

static bool is_image(const graph *g, int32_t id)
{
    const graph_type *t = &g->values[id].type;

    return t->kind == GRAPH_TYPE_TENSOR && t->has_rank && t->rank == IMAGE_RANK &&
           t->dims[1].size > 0 && t->dims[2].size > 0 && t->dims[3].size > 0;
}

static bool same_image(const graph *g, int32_t a, int32_t b)
{
    if (a == GRAPH_NONE || b == GRAPH_NONE || !is_image(g, a) || !is_image(g, b)) {
        return false;
    }
    for (int axis = 1; axis < IMAGE_RANK; axis++) {
        if (g->values[a].type.dims[axis].size != g->values[b].type.dims[axis].size) {
            return false;
        }
    }
    return true;
}

/* Element by element, or, on shortcuts that step, by dropping pixels and adding channels. */
static bool is_cheap(const graph_node *n)
{
    static const char *const types[] = {"AveragePool",
                                        "MaxPool",
                                        "Slice",
                                        "Pad",
                                        "BatchNormalization",
                                        "Relu",
                                        "Clip",
                                        "LeakyRelu",
                                        "PRelu",
                                        "HardSwish",
                                        "Swish",
                                        "QuantizeLinear",
                                        "DequantizeLinear",
                                        "Identity",
                                        "Gelu",
                                        "Dropout",
                                        "Elu",
                                        "Mish"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (graph_node_is(n, types[i])) {
            return true;
        }
    }
    return false;
}

/* Of a product: the factor that the way goes on through. One that is computed from the other by a
 * sigmoid belongs to an activation; one with a number per channel scales. */
static int32_t through_product(const graph *g, const graph_node *n, way *w)
{
    for (int side = 0; side < 2; side++) {
        int32_t main = structure_input(n, side);
        int32_t other = structure_input(n, 1 - side);
        const graph_node *from;

        if (!same_image(g, main, n->outputs[0]) || other == GRAPH_NONE) {
            continue;
        }
        from = producer(g, other);
        if (!same_image(g, other, main)) {
            if (from != NULL && is_image(g, other) && w->scale == GRAPH_NONE) {
                w->scale = other;
                w->scale_before = w->conv_count;
            }
            return main;
        }
        if (from != NULL &&
            (graph_node_is(from, "Sigmoid") || graph_node_is(from, "HardSigmoid"))) {
            return main;
        }
    }
    return GRAPH_NONE;
}

static void walk(const graph *g, int32_t id, way *w)
{
    *w = (way){.scale = GRAPH_NONE};
    while (id != GRAPH_NONE && w->count < MOST_STEPS) {
        const graph_node *n = producer(g, id);

        w->convs_before[w->count] = w->conv_count;
        w->values[w->count++] = id;
        if (n == NULL) {
            return;
        }
        if (graph_node_is(n, "Conv")) {
            if (w->conv_count == LATENCY_BLOCK_CONVS || !is_image(g, id)) {
                return;
            }
            w->convs[w->conv_count++] = g->values[id].producer;
            id = structure_input(n, 0);
        } else if (graph_node_is(n, "Mul")) {
            id = through_product(g, n, w);
        } else {
            id = is_cheap(n) ? structure_input(n, 0) : GRAPH_NONE;
        }
    }
}

/* False: no convolution that is understood. */
static bool describe(const graph *g, const graph_node *n, latency_conv *c)
{
    const graph_type *weight;
    int64_t count;
    const int64_t *strides = graph_attribute_ints(n, "strides", &count);
    int32_t input = structure_input(n, 0);
    int32_t filter = structure_input(n, 1);
    const graph_dim *out;

    if (input == GRAPH_NONE || filter == GRAPH_NONE || !is_image(g, input) ||
        !is_image(g, n->outputs[0])) {
        return false;
    }
    weight = &g->values[filter].type;
    out = g->values[n->outputs[0]].type.dims;
    if (!weight->has_rank || weight->rank != IMAGE_RANK || weight->dims[2].size < 1 ||
        weight->dims[3].size < 1) {
        return false;
    }
    *c = (latency_conv){.inputs = g->values[input].type.dims[1].size,
                        .outputs = out[1].size,
                        .height = out[2].size,
                        .width = out[3].size,
                        .kernel_height = weight->dims[2].size,
                        .kernel_width = weight->dims[3].size,
                        .stride = strides != NULL && count > 0 ? strides[0] : 1,
                        .groups = graph_attribute_int(n, "group", 1)};
    return c->stride >= 1 && c->groups >= 1 && c->inputs >= c->groups && c->outputs >= c->groups;
}

/* Channels between the two layers that compute a scale: of the first convolution or product behind
 * the average. Marks convolutions in `taken`, which may be NULL. */
static int64_t squeezed_width(const graph *g, int32_t id, bool *taken)
{
    int64_t width = 0;

    for (int steps = 0; steps < MOST_STEPS && id != GRAPH_NONE; steps++) {
        const graph_node *n = producer(g, id);

        if (n == NULL || graph_node_is(n, "GlobalAveragePool") || graph_node_is(n, "ReduceMean")) {
            break;
        }
        if (graph_node_is(n, "Conv") || graph_node_is(n, "Gemm") || graph_node_is(n, "MatMul")) {
            const graph_type *t = &g->values[n->outputs[0]].type;

            width = t->has_rank && t->rank >= 2 ? t->dims[1].size : 0;
            if (taken != NULL) {
                taken[g->values[id].producer] = true;
            }
        }
        id = structure_input(n, 0);
    }
    return width > 0 ? width : 0;
}

/* A copy of a name, cut to fit, without the operator at its end. */
static void name_block(const graph *g, const graph_node *sum, latency_block *b)
{
    const char *name = sum->name[0] != '\0' ? sum->name : g->values[sum->outputs[0]].name;
    size_t length;

    (void)snprintf(b->name, sizeof b->name, "%s", name);
    length = strlen(b->name);
    if (length > 4 &&
        (strcmp(b->name + length - 4, ".add") == 0 || strcmp(b->name + length - 4, "/Add") == 0)) {
        b->name[length - 4] = '\0';
    }
}

/* Makes a block of the ways up to their common value, at `body_end` of the longer one. */
static bool make_block(const graph *g, const way *body, int body_end, const way *around,
                       int around_end, latency_block *b)
{
    int32_t x = body->values[body_end];
    const graph_dim *dims = g->values[x].type.dims;

    if (!is_image(g, x)) {
        return false;
    }
    *b = (latency_block){.inputs = dims[1].size,
                         .in_height = dims[2].size,
                         .in_width = dims[3].size,
                         .conv_count = body->convs_before[body_end],
                         .has_shortcut = around->convs_before[around_end] == 1};
    for (int i = 0; i < b->conv_count; i++) {
        if (!describe(g, &g->nodes[body->convs[b->conv_count - 1 - i]], &b->convs[i])) {
            return false;
        }
    }
    if (body->scale != GRAPH_NONE && body->scale_before < b->conv_count) {
        b->squeezed = squeezed_width(g, body->scale, NULL);
        b->squeeze_after = b->conv_count - 1 - body->scale_before;
    }
    return !b->has_shortcut || describe(g, &g->nodes[around->convs[0]], &b->shortcut);
}

/* The block that a sum closes. `taken` marks the nodes of its convolutions. */
static bool find_block(const graph *g, const graph_node *sum, bool *taken, latency_block *b)
{
    way ways[2];

    for (int side = 0; side < 2; side++) {
        int32_t id = structure_input(sum, side);

        if (!same_image(g, id, sum->outputs[0])) {
            return false;
        }
        walk(g, id, &ways[side]);
    }
    for (int i = 0; i < ways[0].count; i++) {
        for (int j = 0; j < ways[1].count; j++) {
            int convs[2] = {ways[0].convs_before[i], ways[1].convs_before[j]};
            int longer = convs[1] > convs[0];
            int ends[2] = {i, j};

            if (ways[0].values[i] != ways[1].values[j]) {
                continue;
            }
            if (convs[longer] < 2 || convs[1 - longer] > 1 ||
                !make_block(g, &ways[longer], ends[longer], &ways[1 - longer], ends[1 - longer],
                            b)) {
                return false;
            }
            for (int side = 0; side < 2; side++) {
                for (int k = 0; k < convs[side]; k++) {
                    taken[ways[side].convs[k]] = true;
                }
            }
            if (b->squeezed > 0) {
                (void)squeezed_width(g, ways[longer].scale, taken);
            }
            name_block(g, sum, b);
            return true;
        }
    }
    return false;
}

static spry_status collect(latency_network *n, const graph *g, bool *taken, spry_error *error)
{
    spry_status status = SPRY_OK;
    latency_conv conv;

    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        latency_block b;

        if (!g->nodes[i].removed && graph_node_is(&g->nodes[i], "Add") &&
            find_block(g, &g->nodes[i], taken, &b)) {
            const latency_conv *last = latency_block_last(&b);

            if (n->block_count > 0) {
                const latency_block *before = &n->blocks[n->block_count - 1];
                const latency_conv *was = latency_block_last(before);

                b.stage =
                    before->stage + (was->height != last->height || was->width != last->width);
            }
            n->stage_count = b.stage + 1;
            status = latency_network_add_block(n, &b, error);
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        if (!g->nodes[i].removed && !taken[i] && graph_node_is(&g->nodes[i], "Conv") &&
            describe(g, &g->nodes[i], &conv)) {
            status = latency_network_add_other(n, &conv, error);
        }
    }
    return status;
}

spry_status latency_network_of_model(latency_network *n, const spry_model *m, spry_error *error)
{
    rewrite job;
    bool *taken;
    spry_status status;

    *n = (latency_network){.allocator = m->allocator};
    status = rewrite_open(&job, m, NULL, error);
    if (status == SPRY_OK) {
        taken = arena_array(&job.memory, (size_t)job.s->node_count + 1, sizeof *taken);
        status = taken != NULL ? collect(n, job.s, taken, error)
                               : alloc_failed(error, (size_t)job.s->node_count);
    }
    if (status == SPRY_OK && n->block_count == 0 && n->other_count == 0) {
        status = spry_fail(error, SPRY_UNSUPPORTED, m->path, NULL,
                           "has no convolution of images whose sizes are known");
    }
    rewrite_close(&job);
    return status;
}
