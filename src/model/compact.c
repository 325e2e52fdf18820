/* Constants that are equal, names, and what may be left out of a file. */
#include "model/compact.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/model.h"
#include "model/pass.h"

/* ---- equal constants ---- */

typedef struct keyed {
    uint64_t key;
    int32_t id;
} keyed;

static uint64_t add_bytes(uint64_t key, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        key = (key ^ bytes[i]) * 0x100000001b3u;
    }
    return key;
}

static uint64_t key_of(const tensor *t)
{
    uint64_t key = 0xcbf29ce484222325u ^ (uint64_t)t->dtype;

    key = add_bytes(key, t->shape, (size_t)t->rank * sizeof *t->shape);
    return add_bytes(key, t->data, t->bytes);
}

static bool is_equal(const tensor *a, const tensor *b)
{
    return a->dtype == b->dtype && tensor_same_shape(a, b) &&
           memcmp(a->data, b->data, a->bytes) == 0;
}

static bool may_share(const graph_value *v)
{
    const tensor *t = v->constant;

    return t != NULL && !v->is_input && !v->is_output && v->outer == GRAPH_NONE &&
           v->producer == GRAPH_NONE && t->bytes > 0 && t->bytes <= COMPACT_BYTES &&
           t->dtype != SPRY_DTYPE_STRING && tensor_is_dense(t) && v->unknown_tensor.size == 0;
}

static int by_key(const void *a, const void *b)
{
    const keyed *x = a;
    const keyed *y = b;

    return x->key != y->key ? (x->key < y->key ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

/* The first of each run of equal ones stands for all. */
static void map_equal(const graph *g, const keyed *list, int32_t count, int32_t *map)
{
    for (int32_t i = 0; i < count; i++) {
        for (int32_t k = i - 1; k >= 0 && list[k].key == list[i].key; k--) {
            int32_t of = list[k].id;

            if (map[of] == of && is_equal(g->values[of].constant, g->values[list[i].id].constant)) {
                map[list[i].id] = of;
                break;
            }
        }
    }
}

spry_status compact_constants(graph *g, spry_error *error)
{
    const spry_allocator *a = &g->memory->allocator;
    size_t values = (size_t)g->value_count;
    keyed *list = alloc_array(a, values + 1, sizeof *list);
    int32_t *map = alloc_array(a, values + 1, sizeof *map);
    int32_t count = 0;
    bool fits = list != NULL && map != NULL;

    for (int32_t i = 0; fits && i < g->value_count; i++) {
        map[i] = i;
        if (may_share(&g->values[i])) {
            list[count++] = (keyed){key_of(g->values[i].constant), i};
        }
    }
    if (fits) {
        qsort(list, (size_t)count, sizeof *list, by_key);
        map_equal(g, list, count, map);
        graph_redirect_uses(g, map);
    }
    alloc_release(a, list, (values + 1) * sizeof *list);
    alloc_release(a, map, (values + 1) * sizeof *map);
    return fits ? SPRY_OK : alloc_failed(error, values * sizeof *list);
}

/* ---- names ---- */

/* Counts names: letters first, as identifiers have it. */
typedef struct name_counter {
    graph *g;
    uint64_t next;
    bool takes; /* names that others have, who get another one later */
} name_counter;

static void spell(uint64_t number, char text[16])
{
    static const char signs[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    enum { LETTERS = 52, SIGNS = 62 };
    int at = 0;

    text[at++] = signs[number % LETTERS];
    for (number /= LETTERS; number > 0; number = (number - 1) / SIGNS) {
        text[at++] = signs[(number - 1) % SIGNS];
    }
    text[at] = '\0';
}

static bool is_port(const graph *g, int32_t id)
{
    return g->values[id].is_input || g->values[id].is_output;
}

static spry_status shorten(name_counter *c, int32_t id, spry_error *error)
{
    char text[16];
    int32_t other;
    spry_status status = SPRY_OK;

    do {
        spell(c->next++, text);
        other = graph_find_value(c->g, text);
    } while (other != GRAPH_NONE && (!c->takes || is_port(c->g, other)));
    if (other == GRAPH_NONE) {
        status = graph_add_value(c->g, text, &other, error);
    }
    if (status == SPRY_OK && other != id) {
        graph_swap_names(c->g, other, id);
    }
    return status;
}

static bool is_made_by(const graph *g, int32_t id, const char *type)
{
    int32_t producer = g->values[id].producer;

    return producer != GRAPH_NONE && graph_node_is(&g->nodes[producer], type);
}

/* Numbers of which the graph also has those that were rounded, or that are constants: whoever looks
 * for a layer's result finds it by its own name. */
static bool is_made_of_codes(const graph *g, int32_t id)
{
    int32_t codes;

    if (!is_made_by(g, id, "DequantizeLinear")) {
        return false;
    }
    codes = g->nodes[g->values[id].producer].inputs[0];
    return codes != GRAPH_NONE &&
           (g->values[codes].constant != NULL || is_made_by(g, codes, "QuantizeLinear"));
}

static bool is_internal(const graph *g, int32_t id)
{
    const graph_value *v = &g->values[id];

    if (is_port(g, id) || v->outer != GRAPH_NONE) {
        return false;
    }
    return (v->producer == GRAPH_NONE && v->constant != NULL) ||
           is_made_by(g, id, "QuantizeLinear") || is_made_of_codes(g, id);
}

spry_status compact_codes(graph *g, int32_t first, spry_error *error)
{
    name_counter c = {.g = g};
    int32_t count = g->value_count;
    spry_status status = SPRY_OK;

    for (int32_t i = first; status == SPRY_OK && i < count; i++) {
        const graph_value *v = &g->values[i];
        graph_node *n = v->producer != GRAPH_NONE ? &g->nodes[v->producer] : NULL;

        if (!is_internal(g, i)) {
            continue;
        }
        if (n != NULL && strcmp(n->name, v->name) == 0) {
            n->name = "";
        }
        status = shorten(&c, i, error);
    }
    return status;
}

/* ---- everything that may go ---- */

static bool all_are(const graph_attribute *a, int64_t number)
{
    for (int64_t i = 0; i < a->count; i++) {
        if (a->as.ints[i] != number) {
            return false;
        }
    }
    return true;
}

static bool has_known_kernel(const graph *g, const graph_node *n)
{
    int32_t port = strcmp(n->type, "QLinearConv") == 0 ? 3 : 1;
    int32_t id = n->input_count > port ? n->inputs[port] : GRAPH_NONE;

    if (id != GRAPH_NONE && is_made_by(g, id, "DequantizeLinear")) {
        id = g->nodes[g->values[id].producer].inputs[0];
    }
    return id != GRAPH_NONE && graph_constant(g, id) != NULL;
}

/* Does the attribute of a convolution say what holds without it? */
static bool says_nothing(const graph *g, const graph_node *n, const graph_attribute *a)
{
    if (a->ref_name != NULL ||
        (a->kind != GRAPH_ATTRIBUTE_INT && a->kind != GRAPH_ATTRIBUTE_INTS)) {
        return false;
    }
    if (strcmp(a->name, "dilations") == 0 || strcmp(a->name, "strides") == 0 ||
        strcmp(a->name, "group") == 0) {
        return all_are(a, 1);
    }
    if (strcmp(a->name, "pads") == 0) {
        return all_are(a, 0) && graph_attribute_find(n, "auto_pad") == NULL;
    }
    return strcmp(a->name, "kernel_shape") == 0 && has_known_kernel(g, n);
}

static void drop_attributes(const graph *g, graph_node *n)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < n->attribute_count; i++) {
        if (!says_nothing(g, n, &n->attributes[i])) {
            n->attributes[kept++] = n->attributes[i];
        }
    }
    n->attribute_count = kept;
}

static bool is_all_zero(const tensor *t)
{
    for (size_t i = 0; i < t->bytes; i++) {
        if (((const uint8_t *)t->data)[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Zero is what holds without a zero point; of codes that are made it also says the type. */
static bool is_plain_zero(const graph *g, const graph_node *n, int32_t id)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;
    bool is_made = graph_node_is(n, "QuantizeLinear");

    return t != NULL && tensor_is_dense(t) &&
           (t->dtype == SPRY_DTYPE_U8 || (t->dtype == SPRY_DTYPE_I8 && !is_made)) && is_all_zero(t);
}

static void drop_zero(const graph *g, graph_node *n)
{
    enum { ZERO_PORT = 2 };
    bool is_linear = graph_node_is(n, "QuantizeLinear") || graph_node_is(n, "DequantizeLinear");

    if (is_linear && n->input_count == ZERO_PORT + 1 && is_plain_zero(g, n, n->inputs[ZERO_PORT])) {
        n->inputs[ZERO_PORT] = GRAPH_NONE;
    }
}

void compact_defaults(graph *g)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        graph_node *n = &g->nodes[i];

        while (n->input_count > 1 && n->inputs[n->input_count - 1] == GRAPH_NONE) {
            n->input_count--;
        }
        if (graph_node_is(n, "Conv") || graph_node_is(n, "QLinearConv") ||
            graph_node_is(n, "ConvInteger")) {
            drop_attributes(g, n);
        }
    }
}

/* A bias in integers, which also needs its steps, becomes the f32 numbers that it stands for:
 * runtimes make it integers again as they load it. */
static spry_status settle_bias(graph *g, const graph_node *n, spry_error *error)
{
    const tensor *codes = n->inputs[0] != GRAPH_NONE ? graph_constant(g, n->inputs[0]) : NULL;
    const tensor *steps = n->input_count > 1 ? graph_constant(g, n->inputs[1]) : NULL;
    int32_t id = n->outputs[0];
    tensor *t;
    spry_status status;

    if (codes == NULL || steps == NULL || n->input_count != 2 || codes->dtype != SPRY_DTYPE_I32 ||
        steps->dtype != SPRY_DTYPE_F32 || !tensor_same_shape(codes, steps) || codes->rank != 1 ||
        g->values[id].is_output) {
        return SPRY_OK;
    }
    t = arena_zeroed(g->memory, sizeof *t);
    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    status = tensor_init(t, SPRY_DTYPE_F32, 1, codes->shape, NULL, error);
    if (status != SPRY_OK) {
        return status;
    }
    t->data = arena_bytes(g->memory, t->bytes + 1);
    if (t->data == NULL) {
        return alloc_failed(error, t->bytes);
    }
    for (int64_t i = 0; i < codes->shape[0]; i++) {
        ((float *)t->data)[i] =
            (float)((const int32_t *)codes->data)[i] * ((const float *)steps->data)[i];
    }
    graph_remove_node(g, g->values[id].producer);
    g->values[id].constant = t;
    return SPRY_OK;
}

static bool has_lowest_zero(const graph *g, const graph_node *n)
{
    enum { ZERO_PORT = 2 };
    int32_t id = n->input_count > ZERO_PORT ? n->inputs[ZERO_PORT] : GRAPH_NONE;
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    if (id == GRAPH_NONE) {
        return true;
    }
    return t != NULL && tensor_count(t) == 1 &&
           ((t->dtype == SPRY_DTYPE_U8 && *(const uint8_t *)t->data == 0) ||
            (t->dtype == SPRY_DTYPE_I8 && *(const int8_t *)t->data == INT8_MIN));
}

/* A Relu before codes whose lowest is zero: rounding clamps as well. */
static void drop_relu(graph *g, const graph_uses *uses, int32_t node)
{
    int32_t id = g->nodes[node].outputs[0];
    int32_t begin = uses->offsets[id];
    int32_t end = uses->offsets[id + 1];

    for (int32_t i = begin; i < end; i++) {
        const graph_node *user = &g->nodes[uses->users[i]];

        if (!graph_node_is(user, "QuantizeLinear") || user->inputs[0] != id ||
            !has_lowest_zero(g, user)) {
            return;
        }
    }
    if (begin == end || g->values[id].is_output) {
        return;
    }
    for (int32_t i = begin; i < end; i++) {
        graph_set_input(g, uses->users[i], 0, g->nodes[node].inputs[0]);
    }
    graph_remove_node(g, node);
}

static spry_status drop_nodes(graph *g, spry_error *error)
{
    arena memory;
    graph_uses uses;
    spry_status status;

    arena_init(&memory, &g->memory->allocator, SIZE_MAX);
    status = graph_find_uses(g, &memory, &uses, error);
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (!n->removed && graph_node_is(n, "Relu")) {
            drop_relu(g, &uses, i);
        } else if (!n->removed && graph_node_is(n, "DequantizeLinear")) {
            status = settle_bias(g, n, error);
        }
    }
    arena_fini(&memory);
    return status;
}

static void drop_words(graph *g)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        g->nodes[i].name = "";
        g->nodes[i].doc = "";
        drop_zero(g, &g->nodes[i]);
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        graph_value *v = &g->values[i];

        if (!v->is_input && !v->is_output) {
            v->is_declared = false;
            v->doc = "";
        }
    }
}

static bool may_rename(const graph *g, int32_t id)
{
    const graph_value *v = &g->values[id];

    return (v->producer != GRAPH_NONE || v->constant != NULL) && !is_port(g, id) &&
           v->outer == GRAPH_NONE;
}

/* Values that may be renamed, those that are named most often first. */
static spry_status rename_all(graph *g, spry_error *error)
{
    name_counter c = {.g = g, .takes = true};
    size_t room = (size_t)g->value_count + 1;
    keyed *list = alloc_array(&g->memory->allocator, room, sizeof *list);
    int32_t count = 0;
    spry_status status = list != NULL ? SPRY_OK : alloc_failed(error, room * sizeof *list);

    for (int32_t i = 0; status == SPRY_OK && i < g->value_count; i++) {
        list[i] = (keyed){UINT64_MAX, i};
    }
    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        for (int32_t k = 0; k < n->input_count; k++) {
            if (n->inputs[k] != GRAPH_NONE) {
                list[n->inputs[k]].key--;
            }
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < g->value_count; i++) {
        if (may_rename(g, i)) {
            list[count++] = list[i];
        }
    }
    if (status == SPRY_OK) {
        qsort(list, (size_t)count, sizeof *list, by_key);
    }
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        status = shorten(&c, list[i].id, error);
    }
    alloc_release(&g->memory->allocator, list, room * sizeof *list);
    return status;
}

spry_status spry_model_compact(spry_model *m, spry_error *error)
{
    graph *g = m->main;
    pass_context context = {.for_file = true};
    spry_status status = compact_constants(g, error);

    if (status == SPRY_OK) {
        drop_words(g);
        compact_defaults(g);
        status = drop_nodes(g, error);
    }
    if (status == SPRY_OK) {
        status = pass_dead(g, &context, error);
    }
    return status == SPRY_OK ? rename_all(g, error) : status;
}
