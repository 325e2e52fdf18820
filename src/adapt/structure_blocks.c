/* Attention is found as the runtime finds it, from its softmax; MLPs from the sum that they end in,
 * backwards through what has no weights. */
#include "adapt/structure_blocks.h"

#include "base/alloc.h"
#include "model/match.h"
#include "runtime/attention/match.h"
#include "runtime/chain.h"

enum { MOST_STEPS = 16 };

static bool is_any_of(const graph_node *n, const char *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (graph_node_is(n, types[i])) {
            return true;
        }
    }
    return false;
}

/* Only the shape of what it is given first changes. */
static bool only_moves(const graph_node *n)
{
    static const char *const types[] = {"Reshape",  "Transpose", "Squeeze", "Unsqueeze",
                                        "Identity", "Dropout",   "Flatten"};

    return is_any_of(n, types, sizeof types / sizeof types[0]);
}

/* ---- residuals ---- */

/* Follows what a linear gives to the sum with what is not constant. */
static structure_residual find_residual(const graph *g, const graph_uses *uses, int32_t id)
{
    const structure_residual none = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE};

    for (int step = 0; step < MOST_STEPS; step++) {
        int32_t user = chain_only_user(g, uses, id);
        const graph_node *n = user != GRAPH_NONE ? &g->nodes[user] : NULL;
        int32_t other = n != NULL ? match_other(n, id) : GRAPH_NONE;
        bool beside_constant = other != GRAPH_NONE && graph_constant(g, other) != NULL;

        if (n != NULL && graph_node_is(n, "Add") && other != GRAPH_NONE && !beside_constant) {
            return graph_type_same(&g->values[other].type, &g->values[id].type)
                       ? (structure_residual){other, id, n->outputs[0]}
                       : none;
        }
        if (n == NULL || n->inputs[0] == GRAPH_NONE ||
            !((only_moves(n) && n->inputs[0] == id) ||
              ((graph_node_is(n, "Mul") || graph_node_is(n, "Add")) && beside_constant))) {
            return none;
        }
        id = n->outputs[0];
    }
    return none;
}

/* ---- attention ---- */

/* Which columns of a linear's output a view reads. */
static structure_columns columns_of(const graph *g, const structure *found, const view *v)
{
    structure_columns c = {structure_linear_of(found, v->base), 0, 1};
    const graph_type *type = &g->values[v->base].type;
    int64_t row = type->rank > 0 ? type->dims[type->rank - 1].size : 0;
    int64_t last = 0;

    for (int i = 0; i < v->part_count; i++) {
        if (v->parts[i].stride > 0 && v->parts[i].stride < row) {
            last += (v->parts[i].size - 1) * v->parts[i].stride;
            c.count *= v->parts[i].size;
        }
    }
    c.first = v->offset;
    if (c.linear != GRAPH_NONE &&
        (found->linears[c.linear].is_conv || last + 1 != c.count || c.first + c.count > row)) {
        c.linear = GRAPH_NONE; /* columns lie apart */
    }
    return c;
}

static int32_t find_projection(const graph *g, const graph_uses *uses, const structure *found,
                               int32_t id)
{
    for (int step = 0; step < MOST_STEPS; step++) {
        int32_t user = chain_only_user(g, uses, id);
        int32_t linear;

        if (user == GRAPH_NONE) {
            return GRAPH_NONE;
        }
        linear = structure_linear_of(found, g->nodes[user].outputs[0]);
        if (linear != GRAPH_NONE && found->linears[linear].input == id) {
            return linear;
        }
        if (!only_moves(&g->nodes[user])) {
            return GRAPH_NONE;
        }
        id = g->nodes[user].outputs[0];
    }
    return GRAPH_NONE;
}

static void take_attention(const graph *g, const graph_uses *uses, structure *found,
                           const attention_match *m)
{
    structure_attention a = {.q = columns_of(g, found, &m->q),
                             .k = columns_of(g, found, &m->k),
                             .v = columns_of(g, found, &m->v),
                             .projection = find_projection(g, uses, found, m->result),
                             .around = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE}};

    a.around = find_residual(
        g, uses, a.projection != GRAPH_NONE ? found->linears[a.projection].output : m->result);
    found->attentions[found->attention_count++] = a;
}

/* ---- MLPs ---- */

/* Computes element by element, without weights. */
static bool is_elementwise(const graph_node *n)
{
    static const char *const types[] = {"Mul", "Add",     "Div",  "Sub",
                                        "Pow", "Dropout", "Cast", "Identity"};

    return is_any_of(n, types, sizeof types / sizeof types[0]);
}

static bool is_activation(const graph_node *n)
{
    static const char *const types[] = {"Erf",         "Tanh", "Sigmoid", "Relu",     "Gelu",
                                        "LeakyRelu",   "Elu",  "Swish",   "Softplus", "HardSwish",
                                        "HardSigmoid", "Mish", "Clip",    "PRelu"};

    return is_any_of(n, types, sizeof types / sizeof types[0]) || graph_node_is(n, "Selu");
}

typedef struct mlp_walk {
    const graph *g;
    const structure *found;
    int32_t up; /* the first linear met */
    bool activates;
    int left; /* nodes that may still be looked at: chains branch */
} mlp_walk;

/* Is everything behind `id` a linear operator's output or constant? */
static bool walk_back(mlp_walk *w, int32_t id)
{
    int32_t linear = structure_linear_of(w->found, id);
    int32_t producer = w->g->values[id].producer;
    const graph_node *n = producer != GRAPH_NONE ? &w->g->nodes[producer] : NULL;

    if (graph_constant(w->g, id) != NULL) {
        return true;
    }
    if (linear != GRAPH_NONE) {
        w->up = w->up == GRAPH_NONE ? linear : w->up;
        return true;
    }
    w->left--;
    if (n == NULL || w->left < 0 || !(is_elementwise(n) || is_activation(n))) {
        return false;
    }
    w->activates = w->activates || is_activation(n);
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] != GRAPH_NONE && !walk_back(w, n->inputs[i])) {
            return false;
        }
    }
    return true;
}

static void take_mlp(const graph *g, const graph_uses *uses, structure *found, int32_t down)
{
    enum { MOST_NODES = 64 };
    const structure_linear *l = &found->linears[down];
    mlp_walk w = {.g = g, .found = found, .up = GRAPH_NONE, .left = MOST_NODES};
    structure_mlp m = {.down = down};

    if (l->is_conv || down == found->head || !walk_back(&w, l->input) || !w.activates ||
        w.up == GRAPH_NONE) {
        return;
    }
    m.up = w.up;
    m.around = find_residual(g, uses, l->output);
    if (m.around.sum != GRAPH_NONE) {
        found->mlps[found->mlp_count++] = m;
    }
}

spry_status structure_find_blocks(const graph *g, const graph_uses *uses, arena *memory,
                                  structure *found, spry_error *error)
{
    attention_match *m = arena_bytes(memory, sizeof *m);

    found->attentions = arena_array(memory, (size_t)g->node_count + 1, sizeof *found->attentions);
    found->mlps = arena_array(memory, (size_t)found->linear_count + 1, sizeof *found->mlps);
    if (m == NULL || found->attentions == NULL || found->mlps == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *found->attentions);
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed &&
            (attention_match_softmax(g, uses, i, m) || attention_match_operator(g, uses, i, m))) {
            take_attention(g, uses, found, m);
        }
    }
    for (int32_t i = 0; i < found->linear_count; i++) {
        take_mlp(g, uses, found, i);
    }
    return SPRY_OK;
}
