/* Which numbers of a model are learnt, and where they lie. */
#include "train/parameters.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "model/weights.h"
#include "tensor/convert.h"

/* ---- what is a weight ---- */

/* How an operator uses its inputs, bit i for input i. */
typedef struct port_use {
    const char *type;
    uint32_t products; /* factors of sums of products, rows of tables: decay */
    uint32_t others;   /* learnt without decay */
} port_use;

enum { FIRST = 1, SECOND = 2, THIRD = 4, FOURTH = 8, EVERY = 0xFF };

static const port_use uses[] = {
    {"Conv", SECOND, THIRD},
    {"ConvTranspose", SECOND, THIRD},
    {"Gemm", FIRST | SECOND, THIRD},
    {"MatMul", FIRST | SECOND, 0},
    {"Einsum", EVERY, 0},
    {"Gather", FIRST, 0},
    {"BatchNormalization", 0, SECOND | THIRD},
    {"InstanceNormalization", 0, SECOND | THIRD},
    {"GroupNormalization", 0, SECOND | THIRD},
    {"LayerNormalization", 0, SECOND | THIRD},
    {"RMSNormalization", 0, SECOND},
    {"SkipLayerNormalization", 0, THIRD | FOURTH | 16},
    {"PRelu", 0, SECOND},
    {"Concat", 0, EVERY}, /* tokens put before a sequence */
    {"Expand", 0, FIRST},
    {"Tile", 0, FIRST},
    {"Attention", SECOND, THIRD},
    {"LSTM", SECOND | THIRD, FOURTH | 128}, /* 128: peepholes */
    {"GRU", SECOND | THIRD, FOURTH},
    {"RNN", SECOND | THIRD, FOURTH},
};

/* Elementwise: learnt where there is more than one number, such as biases and positions. */
static const char *const elementwise[] = {"Add", "Sub", "Mul", "Div"};

/* What only moves a weight: its result is used as the weight itself would be. */
static const char *const movers[] = {"Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze",
                                     "Cast",     "Flatten",   "Slice",   "Pad"};

static bool is_one_of(const char *type, const char *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A single number beside an elementwise operator mostly belongs to the formula: it is learnt only
 * where a rule says so. */
typedef enum weight_use { NOT_LEARNT, SINGLE_NUMBER, WITHOUT_DECAY, WITH_DECAY } weight_use;

static weight_use larger(weight_use a, weight_use b)
{
    return a > b ? a : b;
}

typedef struct chooser {
    const model *m;
    const graph *g;
    graph_uses users;
    weight_use *use; /* per value */
} chooser;

static weight_use use_at(const chooser *c, const graph_node *n, int port, int32_t id)
{
    if (n->domain[0] != '\0' && strcmp(n->domain, "com.microsoft") != 0) {
        return NOT_LEARNT;
    }
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        if (strcmp(n->type, uses[i].type) == 0 && port < 8) {
            uint32_t bit = 1U << port;

            return (uses[i].products & bit) != 0 ? WITH_DECAY
                   : (uses[i].others & bit) != 0 ? WITHOUT_DECAY
                                                 : NOT_LEARNT;
        }
    }
    if (is_one_of(n->type, elementwise, sizeof elementwise / sizeof *elementwise)) {
        const tensor *t = c->g->values[id].constant;

        return t == NULL || tensor_count(t) > 1 ? WITHOUT_DECAY : SINGLE_NUMBER;
    }
    return NOT_LEARNT;
}

/* Nodes are sorted: users come behind, so walking back each mover knows what its result is for. */
static void find_uses(chooser *c)
{
    for (int32_t i = c->g->node_count - 1; i >= 0; i--) {
        const graph_node *n = &c->g->nodes[i];
        bool moves = is_one_of(n->type, movers, sizeof movers / sizeof *movers);

        for (int k = 0; !n->removed && k < n->input_count; k++) {
            int32_t id = n->inputs[k];
            weight_use use;

            if (id == GRAPH_NONE) {
                continue;
            }
            use = !moves                                  ? use_at(c, n, k, id)
                  : k == 0 && n->outputs[0] != GRAPH_NONE ? c->use[n->outputs[0]]
                                                          : NOT_LEARNT;
            c->use[id] = larger(c->use[id], use);
        }
    }
}

/* ---- rules ---- */

/* Is the tensor learnt? `usually` says what is done where no rule speaks. */
static bool apply_rules(const spry_train_rule *rules, int32_t count, bool *used, bool usually,
                        parameter *p)
{
    bool is_frozen = !usually;

    for (int32_t i = 0; i < count; i++) {
        if (!text_matches(rules[i].pattern, p->name)) {
            continue;
        }
        used[i] = true;
        is_frozen = rules[i].is_frozen;
        p->rate = rules[i].rate >= 0 ? rules[i].rate : p->rate;
        p->decay = rules[i].decay >= 0 ? rules[i].decay : p->decay;
    }
    return !is_frozen;
}

static spry_status check_rules(const spry_train_rule *rules, int32_t count, const bool *used,
                               spry_error *error)
{
    for (int32_t i = 0; i < count; i++) {
        if (!used[i]) {
            return spry_fail(error, SPRY_USAGE, rules[i].pattern,
                             "spry inspect --nodes lists what there is",
                             "no weight has a name like this");
        }
    }
    return SPRY_OK;
}

/* ---- choosing ---- */

static spry_status check_finite(const parameter *p, const model *m, spry_error *error)
{
    const float *numbers = m->main->values[p->value].constant->data;

    for (int64_t i = 0; i < p->count; i++) {
        if (!isfinite(numbers[i])) {
            return spry_fail(error, SPRY_BAD_INPUT, p->name, "repair the model first",
                             "weight %" PRId64 " is %f", i, (double)numbers[i]);
        }
    }
    return SPRY_OK;
}

static parameter describe(const graph *g, int32_t id)
{
    const tensor *t = g->values[id].constant;
    parameter p = {.name = g->values[id].name,
                   .value = id,
                   .rank = t->rank,
                   .count = tensor_count(t),
                   .rate = 1.0};

    memcpy(p.shape, t->shape, sizeof p.shape);
    return p;
}

/* Values in the order in which nodes read them. */
static bool is_first_use(const chooser *c, int32_t node, int port)
{
    int32_t id = c->g->nodes[node].inputs[port];

    for (int k = 0; k < port; k++) {
        if (c->g->nodes[node].inputs[k] == id) {
            return false;
        }
    }
    return c->users.users[c->users.offsets[id]] == node;
}

static bool is_candidate(const chooser *c, int32_t id)
{
    const graph_value *v = id != GRAPH_NONE ? &c->g->values[id] : NULL;

    return v != NULL && v->constant != NULL && v->producer == GRAPH_NONE &&
           v->constant->dtype == SPRY_DTYPE_F32 && c->use[id] != NOT_LEARNT &&
           tensor_count(v->constant) > 0;
}

static spry_status collect(chooser *c, const spry_train_rule *rules, int32_t rule_count, bool *used,
                           parameters *weights, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < c->g->node_count && status == SPRY_OK; i++) {
        const graph_node *n = &c->g->nodes[i];

        for (int k = 0; !n->removed && k < n->input_count && status == SPRY_OK; k++) {
            int32_t id = n->inputs[k];
            parameter p;

            if (!is_candidate(c, id) || !is_first_use(c, i, k)) {
                continue;
            }
            p = describe(c->g, id);
            p.decay = c->use[id] == WITH_DECAY ? 1.0 : 0.0;
            if (apply_rules(rules, rule_count, used, c->use[id] != SINGLE_NUMBER, &p)) {
                status = check_finite(&p, c->m, error);
                weights->items[weights->count++] = p;
            }
        }
    }
    return status;
}

spry_status parameters_choose(const model *m, const spry_train_rule *rules, int32_t rule_count,
                              arena *memory, parameters *weights, spry_error *error)
{
    chooser c = {.m = m, .g = m->main};
    size_t values = (size_t)m->main->value_count;
    bool *used = arena_array(memory, (size_t)rule_count + 1, sizeof *used);
    spry_status status;

    *weights = (parameters){.items = arena_array(memory, values + 1, sizeof *weights->items)};
    c.use = arena_array(memory, values + 1, sizeof *c.use);
    if (used == NULL || weights->items == NULL || c.use == NULL) {
        return alloc_failed(error, values * sizeof *weights->items);
    }
    status = model_weights_hold_all(m, error);
    if (status == SPRY_OK) {
        status = graph_find_uses(m->main, memory, &c.users, error);
    }
    if (status == SPRY_OK) {
        find_uses(&c);
        status = collect(&c, rules, rule_count, used, weights, error);
    }
    if (status == SPRY_OK) {
        status = check_rules(rules, rule_count, used, error);
    }
    if (status == SPRY_OK && weights->count == 0) {
        status = spry_fail(error, SPRY_USAGE, m->path, "a quantized model must be made float first",
                           "the model has no weights of type f32 that could be trained");
    }
    parameters_place(weights);
    return status;
}

spry_status parameters_of_norms(const model *m, arena *memory, parameters *statistics,
                                spry_error *error)
{
    const graph *g = m->main;

    *statistics = (parameters){
        .items = arena_array(memory, 2 * (size_t)g->node_count + 1, sizeof *statistics->items)};
    if (statistics->items == NULL) {
        return alloc_failed(error, (size_t)g->node_count * sizeof *statistics->items);
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (n->removed || !graph_node_is(n, "BatchNormalization") || n->input_count < 5) {
            continue;
        }
        for (int k = 3; k < 5; k++) {
            const tensor *t = n->inputs[k] != GRAPH_NONE ? g->values[n->inputs[k]].constant : NULL;

            if (t == NULL || t->dtype != SPRY_DTYPE_F32) {
                char label[256];

                return spry_fail(error, SPRY_UNSUPPORTED,
                                 graph_node_label(g, n, label, sizeof label),
                                 "freeze its statistics",
                                 "its running statistics are not constants of type f32");
            }
            statistics->items[statistics->count++] = describe(g, n->inputs[k]);
        }
    }
    parameters_place(statistics);
    return SPRY_OK;
}

/* ---- the flat arrays ---- */

void parameters_place(parameters *set)
{
    set->length = 0;
    for (int32_t i = 0; i < set->count; i++) {
        int64_t lines = (set->items[i].count + PARAMETERS_ALIGNMENT - 1) / PARAMETERS_ALIGNMENT;

        set->items[i].offset = set->length;
        set->length += lines * PARAMETERS_ALIGNMENT;
    }
}

const parameter *parameters_find(const parameters *set, const char *name)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (strcmp(set->items[i].name, name) == 0) {
            return &set->items[i];
        }
    }
    return NULL;
}

void parameters_read(const parameters *set, const model *m, float *flat)
{
    for (int32_t i = 0; i < set->count; i++) {
        const parameter *p = &set->items[i];
        const tensor *t = m->main->values[p->value].constant;

        convert_read_f32(t, 0, p->count, flat + p->offset);
    }
}

spry_status parameters_write(const parameters *set, const float *flat, model *m, spry_error *error)
{
    for (int32_t i = 0; i < set->count; i++) {
        const parameter *p = &set->items[i];
        size_t bytes = (size_t)p->count * sizeof *flat;
        tensor *t = arena_zeroed(&m->memory, sizeof *t);
        float *data = arena_bytes(&m->memory, bytes);
        spry_status status;

        if (t == NULL || data == NULL) {
            return alloc_failed(error, bytes);
        }
        memcpy(data, flat + p->offset, bytes);
        status = tensor_init(t, SPRY_DTYPE_F32, p->rank, p->shape, data, error);
        if (status != SPRY_OK) {
            return status;
        }
        m->main->values[p->value].constant = t;
    }
    return SPRY_OK;
}

int64_t parameters_total(const parameters *set)
{
    int64_t total = 0;

    for (int32_t i = 0; i < set->count; i++) {
        total += set->items[i].count;
    }
    return total;
}
