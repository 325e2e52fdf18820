/* A table of inputs that hold parameters, and walks over it. */
#include "adapt/census.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { MOST_PORTS = 8, ALL_PORTS = 0xFF };

/* Inputs of an operator that may be parameters, one bit each. Of sums, products and pieces only
 * what has more than one element: single numbers belong to formulas. */
typedef struct parameter_ports {
    const char *type;
    unsigned ports;
    bool several; /* only tensors of more than one element */
} parameter_ports;

static const parameter_ports table[] = {
    {"MatMul", 1U << 0 | 1U << 1, false},
    {"Gemm", 1U << 0 | 1U << 1 | 1U << 2, false},
    {"Conv", 1U << 1 | 1U << 2, false},
    {"ConvTranspose", 1U << 1 | 1U << 2, false},
    {"LayerNormalization", 1U << 1 | 1U << 2, false},
    {"RMSNormalization", 1U << 1, false},
    {"GroupNormalization", 1U << 1 | 1U << 2, false},
    {"InstanceNormalization", 1U << 1 | 1U << 2, false},
    {"BatchNormalization", 1U << 1 | 1U << 2, false},
    {"PRelu", 1U << 1, false},
    {"LSTM", 1U << 1 | 1U << 2 | 1U << 3, false},
    {"GRU", 1U << 1 | 1U << 2 | 1U << 3, false},
    {"RNN", 1U << 1 | 1U << 2 | 1U << 3, false},
    {"Einsum", ALL_PORTS, true},
    {"Gather", 1U << 0, true},
    {"Add", 1U << 0 | 1U << 1, true},
    {"Mul", 1U << 0 | 1U << 1, true},
    {"Concat", ALL_PORTS, true},
    {"Expand", 1U << 0, true},
    {"Tile", 1U << 0, true},
};

/* Additive masks hold numbers that no parameter reaches. */
static bool is_mask(const tensor *t)
{
    const float large = 1e4f;
    const float *x = t->data;

    for (int64_t i = 0; i < tensor_count(t); i++) {
        if (!(fabsf(x[i]) < large)) {
            return true;
        }
    }
    return false;
}

static int32_t origin(const graph *g, int32_t id)
{
    for (int32_t steps = 0; steps < g->node_count && id != GRAPH_NONE; steps++) {
        int32_t producer = g->values[id].producer;
        const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

        if (n == NULL || !(graph_node_is(n, "Transpose") || graph_node_is(n, "Identity") ||
                           graph_node_is(n, "Reshape") || graph_node_is(n, "Squeeze") ||
                           graph_node_is(n, "Unsqueeze"))) {
            break;
        }
        id = n->inputs[0];
    }
    return id;
}

/* The parameter that the input reads, or GRAPH_NONE. */
static int32_t parameter_at(const graph *g, const graph_node *n, int32_t port,
                            const parameter_ports *row)
{
    int32_t id = origin(g, n->inputs[port]);
    const tensor *t =
        id != GRAPH_NONE && g->values[id].producer == GRAPH_NONE ? graph_constant(g, id) : NULL;

    if (t == NULL || t->dtype != SPRY_DTYPE_F32 || (row->several && tensor_count(t) < 2) ||
        (row->several && is_mask(t))) {
        return GRAPH_NONE;
    }
    return id;
}

spry_status census_walk(const graph *g, census_visit visit, void *context, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        const parameter_ports *row = NULL;

        for (size_t k = 0; !n->removed && k < sizeof table / sizeof table[0]; k++) {
            row = graph_node_is(n, table[k].type) ? &table[k] : row;
        }
        for (int32_t port = 0; row != NULL && port < n->input_count && port < MOST_PORTS; port++) {
            int32_t id =
                (row->ports >> port & 1U) != 0 ? parameter_at(g, n, port, row) : GRAPH_NONE;

            if (id != GRAPH_NONE && status == SPRY_OK) {
                status = visit(context, i, port, id, error);
            }
        }
    }
    return status;
}

/* ---- counting ---- */

typedef struct counting {
    const graph *g;
    bool *seen;
    int64_t total;
} counting;

static void count_once(counting *c, int32_t id)
{
    if (!c->seen[id]) {
        c->seen[id] = true;
        c->total += tensor_count(c->g->values[id].constant);
    }
}

static spry_status count_visit(void *context, int32_t node, int32_t port, int32_t id,
                               spry_error *error)
{
    (void)node;
    (void)port;
    (void)error;
    count_once(context, id);
    return SPRY_OK;
}

spry_status census_count(const graph *g, const int32_t *extra, int32_t extra_count, int64_t *total,
                         spry_error *error)
{
    const spry_allocator *allocator = &g->memory->allocator;
    size_t count = (size_t)g->value_count;
    counting c = {.g = g, .seen = alloc_array(allocator, count, sizeof *c.seen)};
    spry_status status;

    if (c.seen == NULL) {
        return alloc_failed(error, count);
    }
    status = census_walk(g, count_visit, &c, error);
    for (int32_t i = 0; i < extra_count; i++) {
        count_once(&c, extra[i]);
    }
    alloc_release(allocator, c.seen, count * sizeof *c.seen);
    *total = c.total;
    return status;
}

/* ---- identity ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const graph_value *const *)a)->name, (*(const graph_value *const *)b)->name);
}

static void hash_tensor(sha256 *hash, const graph_value *v)
{
    const tensor *t = v->constant;
    uint8_t numbers[2 + SPRY_TENSOR_MAX_RANK][sizeof(uint64_t)] = {{0}};
    uint64_t header[2 + SPRY_TENSOR_MAX_RANK] = {(uint64_t)t->dtype, (uint64_t)t->rank};

    for (int i = 0; i < t->rank; i++) {
        header[2 + i] = (uint64_t)t->shape[i];
    }
    for (int i = 0; i < 2 + t->rank; i++) {
        for (size_t k = 0; k < sizeof(uint64_t); k++) {
            numbers[i][k] = (uint8_t)(header[i] >> (8 * k)); /* the same on every machine */
        }
    }
    sha256_update(hash, v->name, strlen(v->name) + 1);
    sha256_update(hash, numbers, (size_t)(2 + t->rank) * sizeof numbers[0]);
    if (t->bytes > 0) {
        sha256_update(hash, t->data, t->bytes);
    }
}

spry_status census_hash(const model *m, char text[SHA256_TEXT_SIZE], spry_error *error)
{
    const graph *g = m->main;
    size_t room = (size_t)g->value_count + 1;
    const graph_value **list = alloc_array(&m->allocator, room, sizeof *list);
    uint8_t digest[SHA256_BYTES];
    size_t count = 0;
    sha256 hash;

    if (list == NULL) {
        return alloc_failed(error, room * sizeof *list);
    }
    for (int32_t i = 0; i < g->value_count; i++) {
        const graph_value *v = &g->values[i];

        if (v->constant != NULL && v->producer == GRAPH_NONE && v->constant->rank > 0 &&
            (v->constant->dtype == SPRY_DTYPE_F32 || v->constant->dtype == SPRY_DTYPE_F16 ||
             v->constant->dtype == SPRY_DTYPE_BF16 || v->constant->dtype == SPRY_DTYPE_F64)) {
            list[count++] = v;
        }
    }
    qsort(list, count, sizeof *list, compare_names);
    sha256_init(&hash);
    for (size_t i = 0; i < count; i++) {
        hash_tensor(&hash, list[i]);
    }
    sha256_final(&hash, digest);
    sha256_text(digest, text);
    alloc_release(&m->allocator, list, room * sizeof *list);
    return SPRY_OK;
}

int64_t census_find_infinite(const tensor *t)
{
    const float *x = t->data;

    for (int64_t i = 0; i < tensor_count(t); i++) {
        if (!isfinite(x[i])) {
            return i;
        }
    }
    return -1;
}
