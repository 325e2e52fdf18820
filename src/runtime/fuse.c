/* Finds chains that one provider can execute in one go. */
#include "runtime/fuse.h"

#include <math.h>

#include "base/alloc.h"
#include "runtime/activation.h"
#include "runtime/chain.h"
#include "runtime/provider/providers.h"

/* A chain that starts at `node`, as far as it has been followed. */
typedef struct chain {
    int32_t node;
    chain_end end;
    int32_t bias; /* values, or GRAPH_NONE */
    int32_t residual;
    int32_t absorbed[4]; /* nodes after the first */
    int absorbed_count;
    const char *activation; /* or NULL */
} chain;

static const op fused_op = {.name = "Fused",
                            .domain = FUSE_DOMAIN,
                            .min_inputs = 2,
                            .max_inputs = 4,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .run = chain_refuse_to_run,
                            .cost = chain_cost};

/* One number per column of the result, there before anything runs: a constant or an input. */
static bool is_column_bias(const graph *g, int32_t id, const graph_type *result)
{
    const graph_type *t = &g->values[id].type;

    return (graph_constant(g, id) != NULL || g->values[id].is_input) && graph_type_is_static(t) &&
           t->dtype == SPRY_DTYPE_F32 && t->rank >= 1 && t->rank <= result->rank &&
           result->rank >= 2 && op_work_count(t) == result->dims[result->rank - 1].size &&
           t->dims[t->rank - 1].size == op_work_count(t);
}

/* Takes an Add in: of a bias per column (products only), or of a residual of the result's shape. */
static bool take_add(const graph *g, chain *c, const graph_node *add)
{
    int32_t other = add->inputs[0] == c->end.result ? add->inputs[1] : add->inputs[0];
    const graph_type *type = &g->values[c->end.result].type;
    const graph_node *first = &g->nodes[c->node];
    bool has_bias = first->input_count > FUSE_BIAS && first->inputs[FUSE_BIAS] != GRAPH_NONE;

    if (c->end.is_clamped || other == GRAPH_NONE || other == c->end.result) {
        return false;
    }
    if (!graph_node_is(first, "Conv") && c->bias == GRAPH_NONE && c->residual == GRAPH_NONE &&
        !has_bias && is_column_bias(g, other, type)) {
        c->bias = other;
        return true;
    }
    if (c->residual == GRAPH_NONE && graph_type_is_static(type) &&
        graph_type_same(&g->values[other].type, type) && g->values[other].constant == NULL) {
        c->residual = other;
        return true;
    }
    return false;
}

static void follow(const graph *g, const graph_uses *uses, chain *c)
{
    int32_t user;

    while (!c->end.is_clamped && (user = chain_only_user(g, uses, c->end.result)) != GRAPH_NONE) {
        const graph_node *n = &g->nodes[user];
        bool taken = graph_node_is(n, "Add") ? take_add(g, c, n) : chain_take_clamp(g, n, &c->end);

        if (!taken) {
            return;
        }
        c->absorbed[c->absorbed_count++] = user;
        c->end.result = n->outputs[0];
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
    ports[FUSE_RESIDUAL] = c->residual != GRAPH_NONE ? c->residual : ports[FUSE_RESIDUAL];
    n->inputs = ports;
    n->input_count = FUSE_RESIDUAL + 1;
    if (c->end.is_clamped) {
        status = chain_set_clamp(g, c->node, &c->end, error);
    }
    if (c->activation != NULL) {
        status = graph_set_string(g, c->node, FUSE_ACTIVATION, c->activation, error);
    }
    n->domain = FUSE_DOMAIN;
    n->op = &fused_op;
    for (int i = 0; i < c->absorbed_count; i++) {
        graph_remove_node(g, c->absorbed[i]);
    }
    graph_set_output(g, c->node, 0, c->end.result);
    return status;
}

/* The chain that starts at the node, when a provider with those abilities executes it. */
static bool start(const graph *g, int32_t node, const spry_session_options *options,
                  unsigned abilities, chain *c)
{
    const graph_node *n = &g->nodes[node];
    provider_site site = {.g = g, .node = n, .options = options};
    const provider *p;

    *c = (chain){.node = node,
                 .bias = GRAPH_NONE,
                 .residual = GRAPH_NONE,
                 .end = {.lower = -INFINITY, .upper = INFINITY}};
    if (n->removed || n->output_count != 1 || n->outputs[0] == GRAPH_NONE ||
        !(provider_is(&site, "Conv") || provider_is(&site, "MatMul") ||
          provider_is(&site, "Gemm"))) {
        return false;
    }
    p = provider_find(&site);
    c->end.result = n->outputs[0];
    return p != NULL && (p->fuses & abilities) == abilities;
}

static spry_status fuse_at(graph *g, const graph_uses *uses, int32_t node,
                           const spry_session_options *options, spry_error *error)
{
    chain c;

    if (g->nodes[node].domain[0] != '\0' || !start(g, node, options, PROVIDER_FUSES_SUMS, &c)) {
        return SPRY_OK;
    }
    follow(g, uses, &c);
    return c.absorbed_count > 0 ? rewrite(g, &c, error) : SPRY_OK;
}

static spry_status activate_at(graph *g, const graph_uses *uses, int32_t node,
                               const spry_session_options *options, spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    chain c;
    int32_t user;

    if (graph_attribute_find(n, FUSE_LOWER) != NULL ||
        graph_attribute_find(n, FUSE_ACTIVATION) != NULL ||
        !start(g, node, options, PROVIDER_FUSES_ACTIVATIONS, &c)) {
        return SPRY_OK;
    }
    user = chain_only_user(g, uses, c.end.result);
    c.activation = user != GRAPH_NONE ? activation_of_node(&g->nodes[user]) : NULL;
    if (c.activation == NULL) {
        return SPRY_OK;
    }
    c.absorbed[c.absorbed_count++] = user;
    c.end.result = g->nodes[user].outputs[0];
    return rewrite(g, &c, error);
}

typedef spry_status fuse_rule(graph *g, const graph_uses *uses, int32_t node,
                              const spry_session_options *options, spry_error *error);

static spry_status fuse_all(graph *g, fuse_rule *rule, const spry_session_options *options,
                            spry_error *error)
{
    arena memory;
    graph_uses uses;
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        status = rule(g, &uses, i, options, error);
    }
    arena_fini(&memory);
    return status == SPRY_OK ? graph_sort(g, error) : status;
}

spry_status fuse_graph(graph *g, const spry_session_options *options, spry_error *error)
{
    return fuse_all(g, fuse_at, options, error);
}

spry_status fuse_activations(graph *g, const spry_session_options *options, spry_error *error)
{
    return fuse_all(g, activate_at, options, error);
}
