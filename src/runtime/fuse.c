/* Finds chains that one provider can execute in one go. */
#include "runtime/fuse.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/providers.h"

/* A chain that starts at `node`, as far as it has been followed. */
typedef struct chain {
    int32_t node;
    int32_t result; /* value at the end of the chain */
    int32_t bias;   /* values, or GRAPH_NONE */
    int32_t residual;
    float lower, upper;
    int32_t absorbed[4]; /* nodes after the first */
    int absorbed_count;
    bool is_clamped;
} chain;

static bool is_standard(const graph_node *n, const char *type)
{
    return n->domain[0] == '\0' && strcmp(n->type, type) == 0;
}

/* What a fused node is defined by: never asked, since a provider executes it. */
static spry_status refuse_to_run(op_call *call)
{
    return op_call_fail(call, SPRY_INTERNAL, "a fused node lost its provider");
}

/* The work is that of the product or convolution; what was fused into it is small. */
static void fused_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const op *plain = op_find("", w->node->type, w->node->opset);

    if (plain != NULL && plain->cost != NULL) {
        plain->cost(w, macs, flops);
    }
}

static const op fused_op = {.name = "Fused",
                            .domain = FUSE_DOMAIN,
                            .min_inputs = 2,
                            .max_inputs = 4,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .run = refuse_to_run,
                            .cost = fused_cost};

/* The only node that reads the chain's result, or GRAPH_NONE. */
static int32_t only_user(const graph *g, const graph_uses *uses, const chain *c)
{
    int32_t user;

    if (g->values[c->result].is_output ||
        uses->offsets[c->result + 1] - uses->offsets[c->result] != 1) {
        return GRAPH_NONE;
    }
    user = uses->users[uses->offsets[c->result]];
    return g->nodes[user].removed || g->nodes[user].output_count != 1 ? GRAPH_NONE : user;
}

static bool same_static(const graph_type *a, const graph_type *b)
{
    if (!graph_type_is_static(a) || !graph_type_is_static(b) || a->dtype != b->dtype ||
        a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (a->dims[i].size != b->dims[i].size) {
            return false;
        }
    }
    return true;
}

/* A constant with one number per column of the result. */
static bool is_column_bias(const graph *g, int32_t id, const graph_type *result)
{
    const tensor *t = graph_constant(g, id);

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank >= 1 && t->rank <= result->rank &&
           result->rank >= 2 && tensor_count(t) == result->dims[result->rank - 1].size &&
           t->shape[t->rank - 1] == tensor_count(t);
}

/* Takes an Add in: of a bias per column (products only), or of a residual of the result's shape. */
static bool take_add(const graph *g, chain *c, const graph_node *add)
{
    int32_t other = add->inputs[0] == c->result ? add->inputs[1] : add->inputs[0];
    const graph_type *type = &g->values[c->result].type;
    const graph_node *first = &g->nodes[c->node];
    bool has_bias = first->input_count > FUSE_BIAS && first->inputs[FUSE_BIAS] != GRAPH_NONE;

    if (c->is_clamped || other == GRAPH_NONE || other == c->result) {
        return false;
    }
    if (!is_standard(first, "Conv") && c->bias == GRAPH_NONE && c->residual == GRAPH_NONE &&
        !has_bias && is_column_bias(g, other, type)) {
        c->bias = other;
        return true;
    }
    if (c->residual == GRAPH_NONE && same_static(&g->values[other].type, type) &&
        g->values[other].constant == NULL) {
        c->residual = other;
        return true;
    }
    return false;
}

static bool read_bound(const graph *g, const graph_node *clip, int32_t port, const char *name,
                       float fallback, float *bound)
{
    const tensor *t;

    *bound = graph_attribute_float(clip, name, fallback);
    if (port >= clip->input_count || clip->inputs[port] == GRAPH_NONE) {
        return true;
    }
    t = graph_constant(g, clip->inputs[port]);
    if (t == NULL || t->dtype != SPRY_DTYPE_F32 || tensor_count(t) != 1) {
        return false;
    }
    *bound = *(const float *)t->data;
    return true;
}

static bool take_clamp(const graph *g, chain *c, const graph_node *n)
{
    if (is_standard(n, "Relu")) {
        c->lower = 0.0f;
    } else if (!is_standard(n, "Clip") || n->inputs[0] != c->result ||
               !read_bound(g, n, 1, "min", -INFINITY, &c->lower) ||
               !read_bound(g, n, 2, "max", INFINITY, &c->upper)) {
        return false;
    }
    c->is_clamped = true;
    return true;
}

static void follow(const graph *g, const graph_uses *uses, chain *c)
{
    int32_t user;

    while (!c->is_clamped && (user = only_user(g, uses, c)) != GRAPH_NONE) {
        const graph_node *n = &g->nodes[user];
        bool taken = is_standard(n, "Add") ? take_add(g, c, n) : take_clamp(g, c, n);

        if (!taken || n->outputs[0] == GRAPH_NONE) {
            return;
        }
        c->absorbed[c->absorbed_count++] = user;
        c->result = n->outputs[0];
    }
}

/* Replaces the chain by one node. */
static spry_status rewrite(graph *g, const chain *c, spry_error *error)
{
    graph_node *n = &g->nodes[c->node];
    int32_t *ports = arena_array(g->memory, FUSE_RESIDUAL + 1, sizeof *ports);
    spry_status status = SPRY_OK;

    if (ports == NULL) {
        return alloc_failed(error, sizeof *ports);
    }
    for (int32_t i = 0; i <= FUSE_RESIDUAL; i++) {
        ports[i] = i < n->input_count ? n->inputs[i] : GRAPH_NONE;
    }
    ports[FUSE_BIAS] = c->bias != GRAPH_NONE ? c->bias : ports[FUSE_BIAS];
    ports[FUSE_RESIDUAL] = c->residual;
    n->inputs = ports;
    n->input_count = FUSE_RESIDUAL + 1;
    if (c->is_clamped) {
        status = graph_set_float(g, c->node, FUSE_LOWER, c->lower, error);
        if (status == SPRY_OK) {
            status = graph_set_float(g, c->node, FUSE_UPPER, c->upper, error);
        }
    }
    n->domain = FUSE_DOMAIN;
    n->op = &fused_op;
    for (int i = 0; i < c->absorbed_count; i++) {
        graph_remove_node(g, c->absorbed[i]);
    }
    graph_set_output(g, c->node, 0, c->result);
    return status;
}

static spry_status fuse_at(graph *g, const graph_uses *uses, int32_t node,
                           const spry_session_options *options, spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    provider_site site = {.g = g, .node = n, .options = options};
    const provider *p;
    chain c = {.node = node,
               .bias = GRAPH_NONE,
               .residual = GRAPH_NONE,
               .lower = -INFINITY,
               .upper = INFINITY};

    if (n->removed || n->output_count != 1 || n->outputs[0] == GRAPH_NONE ||
        !(is_standard(n, "Conv") || is_standard(n, "MatMul") || is_standard(n, "Gemm"))) {
        return SPRY_OK;
    }
    p = provider_find(&site);
    if (p == NULL || !p->fuses) {
        return SPRY_OK;
    }
    c.result = n->outputs[0];
    follow(g, uses, &c);
    return c.absorbed_count > 0 ? rewrite(g, &c, error) : SPRY_OK;
}

spry_status fuse_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    arena memory;
    graph_uses uses;
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        status = fuse_at(g, &uses, i, options, error);
    }
    arena_fini(&memory);
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
