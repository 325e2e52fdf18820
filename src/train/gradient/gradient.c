/* Walks the graph backwards from what is differentiated, asking each node's rule. */
#include "train/gradient/gradient.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"
#include "tensor/convert.h"
#include "train/gradient/gradient_step.h"

typedef struct builder {
    graph *g;
    const gradient_request *r;
    int32_t node_count;  /* of the forward graph */
    int32_t value_count; /* of the forward graph */
    bool *needed;
    int32_t *gradients;
    spry_error *error;
} builder;

/* ---- rules ---- */

static const gradient_rule *const tables[] = {
    gradient_elementwise_rules, gradient_linear_rules,    gradient_loss_rules,
    gradient_move_rules,        gradient_norm_rules,      gradient_pool_rules,
    gradient_quantize_rules,    gradient_recurrent_rules, gradient_reduce_rules,
    gradient_resize_rules,      gradient_softmax_rules,   NULL,
};

const gradient_rule *gradient_find_rule(const graph_node *node)
{
    for (const gradient_rule *const *table = tables; *table != NULL; table++) {
        for (const gradient_rule *rule = *table; rule->name != NULL; rule++) {
            if (strcmp(rule->name, node->type) == 0 && strcmp(rule->domain, node->domain) == 0) {
                return rule;
            }
        }
    }
    return NULL;
}

/* ---- what depends on what is asked ---- */

static bool is_float(const graph *g, int32_t id)
{
    const graph_type *type = &g->values[id].type;

    return type->kind == GRAPH_TYPE_TENSOR && dtype_class_of(type->dtype) == DTYPE_CLASS_FLOAT;
}

/* A node that uses a needed value, as an input or inside of its bodies. */
static bool reads_needed(const builder *b, const graph_node *n)
{
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] != GRAPH_NONE && b->needed[n->inputs[i]]) {
            return true;
        }
    }
    for (int32_t i = 0; i < n->attribute_count; i++) {
        const graph_attribute *a = &n->attributes[i];
        int64_t bodies =
            a->kind == GRAPH_ATTRIBUTE_GRAPH || a->kind == GRAPH_ATTRIBUTE_GRAPHS ? a->count : 0;

        for (int64_t k = 0; k < bodies; k++) {
            const graph *body = a->as.graphs[k];

            for (int32_t v = 0; v < body->value_count; v++) {
                if (body->values[v].outer != GRAPH_NONE && b->needed[body->values[v].outer]) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Rounding to integers and back counts as one operator: its integers carry the mark. */
static bool carries(const graph *g, const graph_node *n, int32_t output)
{
    return is_float(g, output) || g->values[output].type.kind == GRAPH_TYPE_UNKNOWN ||
           strcmp(n->type, "QuantizeLinear") == 0;
}

static void mark_needed(builder *b)
{
    for (int32_t i = 0; i < b->r->count; i++) {
        b->needed[b->r->of[i]] = true;
    }
    for (int32_t i = 0; i < b->node_count; i++) {
        const graph_node *n = &b->g->nodes[i];
        const gradient_rule *rule = gradient_find_rule(n);

        if (n->removed || (rule != NULL && rule->run == NULL) || !reads_needed(b, n)) {
            continue;
        }
        for (int32_t k = 0; k < n->output_count; k++) {
            if (n->outputs[k] != GRAPH_NONE && carries(b->g, n, n->outputs[k])) {
                b->needed[n->outputs[k]] = true;
            }
        }
    }
}

/* ---- for rules ---- */

int32_t gradient_input(const gradient_step *s, int port)
{
    return port < s->node.input_count ? s->node.inputs[port] : GRAPH_NONE;
}

int32_t gradient_output(const gradient_step *s, int port)
{
    return port < s->node.output_count ? s->node.outputs[port] : GRAPH_NONE;
}

int32_t gradient_demand_output(gradient_step *s, int port)
{
    graph *g = s->e.g;
    int32_t id = gradient_output(s, port);

    if (id != GRAPH_NONE || s->e.status != SPRY_OK) {
        return id;
    }
    if (port >= s->node.output_count) {
        int32_t *outputs = arena_array(g->memory, (size_t)port + 1, sizeof *outputs);

        if (outputs == NULL) {
            s->e.status = alloc_failed(s->e.error, ((size_t)port + 1) * sizeof *outputs);
            return GRAPH_NONE;
        }
        for (int i = 0; i <= port; i++) {
            outputs[i] = gradient_output(s, i);
        }
        g->nodes[s->id].outputs = outputs;
        g->nodes[s->id].output_count = port + 1;
    }
    s->e.status = graph_add_value(g, s->e.name, &id, s->e.error);
    if (s->e.status == SPRY_OK) {
        graph_set_output(g, s->id, port, id);
        s->node = g->nodes[s->id];
    }
    return id;
}

bool gradient_wanted(const gradient_step *s, int port)
{
    int32_t id = gradient_input(s, port);

    return id != GRAPH_NONE && s->needed[id];
}

spry_dtype gradient_dtype(const gradient_step *s, int32_t id)
{
    return s->e.g->values[id].type.dtype;
}

graph_type gradient_ranked(gradient_step *s, int32_t id)
{
    graph_type type = {.kind = GRAPH_TYPE_UNKNOWN};

    if (id != GRAPH_NONE) {
        type = s->e.g->values[id].type;
    }
    if (!type.has_rank) {
        gradient_refuse(s, "the rank of a value is not known");
        type.rank = 0;
    }
    return type;
}

graph_type gradient_sized(gradient_step *s, int32_t id, int first)
{
    graph_type type = gradient_ranked(s, id);

    for (int i = first; i < type.rank; i++) {
        if (type.dims[i].size < 0) {
            gradient_refuse(s, "the size of axis %d of a value is not known", i);
        }
    }
    return type;
}

void gradient_add(gradient_step *s, int32_t id, int32_t share)
{
    if (s->e.status != SPRY_OK) {
        return;
    }
    s->gradients[id] =
        s->gradients[id] == GRAPH_NONE ? share : emit_binary(&s->e, "Add", s->gradients[id], share);
}

void gradient_give_nothing(gradient_step *s, int port)
{
    s->given |= port < 64 ? (uint64_t)1 << port : 0;
}

void gradient_give(gradient_step *s, int port, int32_t share)
{
    gradient_give_nothing(s, port);
    gradient_add(s, s->node.inputs[port], share);
}

void gradient_give_sum_from(gradient_step *s, int port, int32_t share, const graph_type *type)
{
    gradient_give(s, port, emit_sum_to(&s->e, share, type, s->node.inputs[port]));
}

void gradient_give_sum(gradient_step *s, int port, int32_t share)
{
    graph_type type = s->e.g->values[s->node.outputs[0]].type;

    gradient_give_sum_from(s, port, share, &type);
}

void gradient_refuse(gradient_step *s, const char *format, ...)
{
    char label[SPRY_ERROR_WHERE_SIZE];
    char what[SPRY_ERROR_WHAT_SIZE];
    va_list arguments;

    if (s->e.status != SPRY_OK) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    s->e.status = spry_fail(s->e.error, SPRY_UNSUPPORTED,
                            graph_node_label(s->e.g, &s->e.g->nodes[s->id], label, sizeof label),
                            "bind the input shapes, or ask for gradients behind this node",
                            "operator %.100s%s%.100s has no gradient here: %.700s", s->node.domain,
                            s->node.domain[0] != '\0' ? "." : "", s->node.type, what);
}

int gradient_axis(gradient_step *s, const char *name, int64_t fallback, int rank)
{
    int axis = 0;

    if (s->e.status == SPRY_OK &&
        !op_normalize_axis(graph_attribute_int(&s->node, name, fallback), rank, &axis)) {
        gradient_refuse(s, "the axis does not exist");
    }
    return axis;
}

int gradient_constant_ints(const gradient_step *s, int port, int64_t *to)
{
    int32_t id = gradient_input(s, port);
    const tensor *t = id != GRAPH_NONE ? graph_constant(s->e.g, id) : NULL;

    if (t == NULL || tensor_count(t) > 2 * (int64_t)SPRY_TENSOR_MAX_RANK) {
        return -1;
    }
    convert_read_i64(t, 0, tensor_count(t), to);
    return (int)tensor_count(t);
}

/* ---- the walk ---- */

/* "layer1.weight" -> "layer1.weight.gradient": what a node's backward nodes and values are called.
 */
static spry_status name_step(gradient_step *s)
{
    const graph *g = s->e.g;
    char name[SPRY_ERROR_WHERE_SIZE];

    for (int32_t i = 0; i < s->node.output_count; i++) {
        if (s->node.outputs[i] != GRAPH_NONE) {
            (void)snprintf(name, sizeof name, "%.480s.gradient",
                           g->values[s->node.outputs[i]].name);
            s->e.name = graph_text(s->e.g, name);
            break;
        }
    }
    return s->e.name != NULL ? SPRY_OK : alloc_failed(s->e.error, sizeof name);
}

/* Every needed input of a node must have got something. */
static void check_given(gradient_step *s)
{
    for (int32_t i = 0; i < s->node.input_count && i < 64; i++) {
        if (gradient_wanted(s, i) && (s->given >> i & 1) == 0) {
            gradient_refuse(s, "nothing is known of its slope by input %d", (int)i);
        }
    }
}

/* `dy` has room for an entry per output, all GRAPH_NONE. */
static spry_status walk_node(builder *b, int32_t id, int32_t *dy)
{
    gradient_step s = {.e = {.g = b->g, .name = NULL, .error = b->error},
                       .node = b->g->nodes[id],
                       .id = id,
                       .dy = dy,
                       .needed = b->needed,
                       .gradients = b->gradients};
    const gradient_rule *rule = gradient_find_rule(&s.node);
    bool reached = false;

    if (s.node.removed || !reads_needed(b, &s.node)) {
        return SPRY_OK;
    }
    for (int32_t i = 0; i < s.node.output_count; i++) {
        dy[i] = s.node.outputs[i] != GRAPH_NONE ? b->gradients[s.node.outputs[i]] : GRAPH_NONE;
        reached = reached || dy[i] != GRAPH_NONE;
    }
    if (!reached || (rule != NULL && rule->run == NULL)) {
        return SPRY_OK;
    }
    s.e.status = name_step(&s);
    if (rule == NULL) {
        gradient_refuse(&s, "there is no rule for it");
        return s.e.status;
    }
    for (int32_t i = rule->outputs > 1 ? rule->outputs : 1; i < s.node.output_count; i++) {
        if (dy[i] != GRAPH_NONE) {
            gradient_refuse(&s, "its output %d is used", (int)i);
        }
    }
    s.detail = rule->detail;
    if (s.e.status == SPRY_OK) {
        rule->run(&s);
    }
    check_given(&s);
    return s.e.status;
}

static spry_status walk_back(builder *b)
{
    int32_t most = 2; /* a rule may demand one more output than a node has */
    int32_t *dy;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < b->node_count; i++) {
        most = b->g->nodes[i].output_count > most ? b->g->nodes[i].output_count : most;
    }
    dy = arena_array(b->g->memory, (size_t)most, sizeof *dy);
    if (dy == NULL) {
        return alloc_failed(b->error, (size_t)most * sizeof *dy);
    }
    for (int32_t i = b->node_count - 1; i >= 0 && status == SPRY_OK; i--) {
        for (int32_t k = 0; k < most; k++) {
            dy[k] = GRAPH_NONE;
        }
        status = walk_node(b, i, dy);
    }
    return status;
}

/* ---- both ends ---- */

static spry_status check_request(const builder *b)
{
    for (int32_t i = -1; i < b->r->count; i++) {
        int32_t id = i < 0 ? b->r->value : b->r->of[i];

        if (id < 0 || id >= b->value_count || !is_float(b->g, id)) {
            return spry_fail(b->error, SPRY_USAGE,
                             id >= 0 && id < b->value_count ? b->g->values[id].name : NULL, NULL,
                             "gradients are between values of floating-point type");
        }
    }
    return SPRY_OK;
}

static spry_status make_seed(builder *b, int32_t *seed)
{
    emitter e = {.g = b->g, .name = "seed.gradient", .error = b->error};
    const graph_type *type = &b->g->values[b->r->value].type;
    int64_t ones[SPRY_TENSOR_MAX_RANK];

    *seed = b->r->seed;
    if (*seed != GRAPH_NONE) {
        return SPRY_OK;
    }
    for (int i = 0; i < type->rank || !type->has_rank; i++) {
        if (!type->has_rank || type->dims[i].size != 1) {
            return spry_fail(b->error, SPRY_USAGE, b->g->values[b->r->value].name,
                             "give the derivative by it as a seed",
                             "it has more than one element, or a shape that is not known");
        }
        ones[i] = 1;
    }
    *seed = emit_number(&e, type->dtype, 1.0);
    if (b->g->values[b->r->value].type.rank > 0) {
        *seed = emit_reshape(&e, *seed, b->g->values[b->r->value].type.rank, ones);
    }
    return e.status;
}

/* A value that is an input, or already an answer, gets a name of its own. */
static spry_status hand_out(builder *b, int32_t *gradients)
{
    for (int32_t i = 0; i < b->r->count; i++) {
        int32_t of = b->r->of[i];
        char name[SPRY_ERROR_WHERE_SIZE];
        emitter e = {.g = b->g, .name = name, .error = b->error};

        gradients[i] = b->gradients[of];
        if (gradients[i] == GRAPH_NONE) {
            continue;
        }
        (void)snprintf(name, sizeof name, "%.480s.gradient", b->g->values[of].name);
        e.name = graph_text(b->g, name);
        if (e.name == NULL) {
            return alloc_failed(b->error, sizeof name);
        }
        gradients[i] = emit_unary(&e, "Identity", gradients[i]);
        if (e.status != SPRY_OK) {
            return e.status;
        }
        b->g->values[gradients[i]].type = b->g->values[of].type;
    }
    return SPRY_OK;
}

spry_status gradient_build(graph *g, const gradient_request *r, int32_t *gradients,
                           spry_error *error)
{
    builder b = {
        .g = g, .r = r, .node_count = g->node_count, .value_count = g->value_count, .error = error};
    int32_t seed;
    spry_status status = check_request(&b);

    if (status == SPRY_OK) {
        b.needed = arena_array(g->memory, (size_t)b.value_count, sizeof *b.needed);
        b.gradients = arena_array(g->memory, (size_t)b.value_count, sizeof *b.gradients);
        if (b.needed == NULL || b.gradients == NULL) {
            return alloc_failed(error, (size_t)b.value_count * sizeof *b.gradients);
        }
        for (int32_t i = 0; i < b.value_count; i++) {
            b.gradients[i] = GRAPH_NONE;
        }
        mark_needed(&b);
        status = make_seed(&b, &seed);
    }
    if (status == SPRY_OK) {
        b.gradients[r->value] = seed;
        status = walk_back(&b);
    }
    return status == SPRY_OK ? hand_out(&b, gradients) : status;
}
