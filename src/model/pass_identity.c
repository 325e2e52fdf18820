/* Nodes that give back their input, and chains of views that one node can do. */
#include <string.h>

#include "base/alloc.h"
#include "model/graph_walk.h"
#include "model/pass.h"
#include "tensor/convert.h"

typedef struct cleaner {
    graph *g;
    int32_t *map; /* what each removed value is replaced by */
    pass_context *c;
    spry_error *error;
} cleaner;

static int32_t input_of(const cleaner *x, const graph_node *n, int32_t port)
{
    if (port >= n->input_count || n->inputs[port] == GRAPH_NONE) {
        return GRAPH_NONE;
    }
    return graph_follow(x->map, n->inputs[port]);
}

static const tensor *constant_of(const cleaner *x, const graph_node *n, int32_t port)
{
    int32_t id = input_of(x, n, port);

    return id != GRAPH_NONE ? graph_constant(x->g, id) : NULL;
}

/* The standard operator that computes `id`, when it is of that type. */
static const graph_node *producer_of(const cleaner *x, int32_t id, const char *type)
{
    int32_t node = x->g->values[id].producer;
    const graph_node *n = node != GRAPH_NONE ? &x->g->nodes[node] : NULL;

    return n != NULL && graph_node_is(n, type) ? n : NULL;
}

static bool same_static_type(const graph *g, int32_t a, int32_t b)
{
    const graph_type *x = &g->values[a].type;
    const graph_type *y = &g->values[b].type;

    if (!graph_type_is_static(x) || !graph_type_is_static(y) || x->dtype != y->dtype ||
        x->rank != y->rank) {
        return false;
    }
    for (int i = 0; i < x->rank; i++) {
        if (x->dims[i].size != y->dims[i].size) {
            return false;
        }
    }
    return true;
}

/* Is the integer tensor known, and every element `number`? */
static bool all_are(const tensor *t, int64_t number)
{
    int64_t count = t != NULL ? tensor_count(t) : -1;

    for (int64_t i = 0; i < count; i++) {
        if (convert_get_i64(t, i) != number) {
            return false;
        }
    }
    return count >= 0;
}

/* ---- rules: does the node give back its first input? ---- */

typedef bool (*identity_rule)(cleaner *x, graph_node *n);

static bool always(cleaner *x, graph_node *n)
{
    (void)x;
    return n->input_count > 0;
}

static bool of_one(cleaner *x, graph_node *n)
{
    (void)x;
    return n->input_count == 1;
}

static bool is_dropout(cleaner *x, graph_node *n)
{
    bool has_mask = n->output_count > 1 && n->outputs[1] != GRAPH_NONE;

    return !has_mask && n->opset >= 7 &&
           (input_of(x, n, 2) == GRAPH_NONE || all_are(constant_of(x, n, 2), 0));
}

static bool is_cast(cleaner *x, graph_node *n)
{
    const graph_type *type = &x->g->values[input_of(x, n, 0)].type;

    return type->kind == GRAPH_TYPE_TENSOR && type->dtype != SPRY_DTYPE_NONE &&
           graph_attribute_int(n, "to", 0) == (int64_t)type->dtype;
}

static bool is_pad(cleaner *x, graph_node *n)
{
    int64_t count;
    const int64_t *pads = graph_attribute_ints(n, "pads", &count);

    if (pads == NULL) {
        return n->opset >= 11 && all_are(constant_of(x, n, 1), 0);
    }
    for (int64_t i = 0; i < count; i++) {
        if (pads[i] != 0) {
            return false;
        }
    }
    return true;
}

static bool keeps_type(cleaner *x, graph_node *n)
{
    return same_static_type(x->g, input_of(x, n, 0), n->outputs[0]);
}

static bool is_slice(cleaner *x, graph_node *n)
{
    return keeps_type(x, n) &&
           (input_of(x, n, 4) == GRAPH_NONE || all_are(constant_of(x, n, 4), 1));
}

/* The permutation of a Transpose; false when it cannot be known. */
static bool permutation_of(const cleaner *x, const graph_node *n, int *rank, int64_t *permutation)
{
    const graph_type *type = &x->g->values[n->inputs[0]].type;
    int64_t count;
    const int64_t *perm = graph_attribute_ints(n, "perm", &count);

    if (perm == NULL && (type->kind != GRAPH_TYPE_TENSOR || !type->has_rank)) {
        return false;
    }
    *rank = perm != NULL ? (int)count : type->rank;
    if (*rank > SPRY_TENSOR_MAX_RANK) {
        return false;
    }
    for (int i = 0; i < *rank; i++) {
        permutation[i] = perm != NULL ? perm[i] : *rank - 1 - i;
        if (permutation[i] < 0 || permutation[i] >= *rank) {
            return false;
        }
    }
    return true;
}

static bool is_ascending(const int64_t *numbers, int count)
{
    for (int i = 0; i < count; i++) {
        if (numbers[i] != i) {
            return false;
        }
    }
    return true;
}

/* Two transposes in a row become one; one that moves nothing goes. */
static bool is_transpose(cleaner *x, graph_node *n)
{
    int32_t input = input_of(x, n, 0);
    const graph_node *before = producer_of(x, input, "Transpose");
    int64_t second[SPRY_TENSOR_MAX_RANK];
    int64_t first[SPRY_TENSOR_MAX_RANK];
    int rank;
    int first_rank;

    if (!permutation_of(x, n, &rank, second)) {
        return false;
    }
    if (before != NULL && permutation_of(x, before, &first_rank, first) && first_rank == rank) {
        for (int i = 0; i < rank; i++) {
            second[i] = first[second[i]];
        }
        if (graph_set_ints(x->g, (int32_t)(n - x->g->nodes), "perm", rank, second, NULL) !=
            SPRY_OK) {
            return false; /* out of memory: the pair stays as it was */
        }
        n->inputs[0] = input_of(x, before, 0);
        x->c->changes++;
    }
    return is_ascending(second, rank);
}

/* A Reshape of a view reads what the view reads, unless it copies dimensions from it (zeros). */
static bool is_reshape(cleaner *x, graph_node *n)
{
    static const char *const views[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};
    const tensor *shape = constant_of(x, n, 1);
    int32_t input = input_of(x, n, 0);
    bool copies = shape == NULL;

    for (int64_t i = 0; !copies && i < tensor_count(shape); i++) {
        copies = convert_get_i64(shape, i) == 0;
    }
    for (size_t i = 0; !copies && i < sizeof views / sizeof *views; i++) {
        const graph_node *before = producer_of(x, input, views[i]);

        if (before != NULL && input_of(x, before, 0) != GRAPH_NONE) {
            n->inputs[0] = input_of(x, before, 0);
            x->c->changes++;
            break;
        }
    }
    return keeps_type(x, n);
}

static const struct {
    const char *type;
    identity_rule applies;
} rules[] = {
    {"Identity", always},    {"Dropout", is_dropout}, {"Cast", is_cast},
    {"Pad", is_pad},         {"Slice", is_slice},     {"Transpose", is_transpose},
    {"Reshape", is_reshape}, {"Expand", keeps_type},  {"Tile", keeps_type},
    {"Flatten", keeps_type}, {"Squeeze", keeps_type}, {"Unsqueeze", keeps_type},
    {"Concat", of_one},      {"Sum", of_one},         {"Max", of_one},
    {"Min", of_one},         {"Mean", of_one},
};

static bool gives_back_input(cleaner *x, graph_node *n)
{
    if (n->removed || n->domain[0] != '\0' || n->output_count < 1 || n->outputs[0] == GRAPH_NONE ||
        input_of(x, n, 0) == GRAPH_NONE) {
        return false;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(n->type, rules[i].type) == 0) {
            return rules[i].applies(x, n);
        }
    }
    return false;
}

/* Removes node `id`, whose output is its input, unless the graph needs both names. */
static void bypass(cleaner *x, int32_t id)
{
    graph *g = x->g;
    int32_t from = g->nodes[id].outputs[0];
    int32_t to = input_of(x, &g->nodes[id], 0);

    if (g->values[from].is_output) {
        if (!graph_can_be_output(g, to)) {
            return;
        }
        graph_take_output(g, from, to);
    }
    x->map[from] = to;
    graph_remove_node(g, id);
    x->c->changes++;
}

spry_status pass_identity(graph *g, pass_context *c, spry_error *error)
{
    size_t count = (size_t)g->value_count;
    cleaner x = {.g = g, .c = c, .error = error};

    x.map = alloc_array(&g->memory->allocator, count, sizeof *x.map);
    if (x.map == NULL) {
        return alloc_failed(error, count * sizeof *x.map);
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        x.map[i] = i;
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        if (gives_back_input(&x, &g->nodes[i])) {
            bypass(&x, i);
        }
    }
    graph_redirect_uses(g, x.map);
    alloc_release(&g->memory->allocator, x.map, count * sizeof *x.map);
    graph_compact(g);
    return SPRY_OK;
}
