/* Constants and nodes, named after what they belong to. */
#include "model/insert.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { NAME_SIZE = 512 };

/* A constant of zeros whose bytes are to be filled. */
static spry_status add_empty(graph *g, const char *base, const char *suffix, spry_dtype dtype,
                             int rank, const int64_t *shape, tensor **made, int32_t *value,
                             spry_error *error)
{
    char name[NAME_SIZE];
    tensor *t = arena_zeroed(g->memory, sizeof *t);
    spry_status status;

    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    status = tensor_init(t, dtype, rank, shape, NULL, error);
    if (status != SPRY_OK) {
        return status;
    }
    t->data = arena_zeroed(g->memory, t->bytes != 0 ? t->bytes : 1);
    if (t->data == NULL) {
        return alloc_failed(error, t->bytes);
    }
    *made = t;
    (void)snprintf(name, sizeof name, "%s_%s", base, suffix);
    return graph_add_constant(g, name, t, value, error);
}

spry_status insert_constant(graph *g, const char *base, const char *suffix, spry_dtype dtype,
                            int rank, const int64_t *shape, const void *data, int32_t *value,
                            spry_error *error)
{
    tensor *t = NULL;
    spry_status status = add_empty(g, base, suffix, dtype, rank, shape, &t, value, error);

    if (status == SPRY_OK && t->bytes != 0) {
        memcpy(t->data, data, t->bytes);
    }
    return status;
}

spry_status insert_codes(graph *g, const char *base, const char *suffix, spry_dtype dtype, int rank,
                         const int64_t *shape, const int8_t *codes, int32_t *value,
                         spry_error *error)
{
    enum { NIBBLE = 4, NIBBLE_MASK = 0xF };
    tensor *t = NULL;
    spry_status status;

    if (dtype != SPRY_DTYPE_I4) {
        return insert_constant(g, base, suffix, dtype, rank, shape, codes, value, error);
    }
    status = add_empty(g, base, suffix, dtype, rank, shape, &t, value, error);
    for (int64_t i = 0; status == SPRY_OK && i < tensor_count(t); i++) {
        unsigned code = (unsigned)codes[i] & NIBBLE_MASK;

        ((uint8_t *)t->data)[i / 2] |= (uint8_t)(code << i % 2 * NIBBLE);
    }
    return status;
}

spry_status insert_node(graph *g, const insert_node_of *what, int32_t *node, int32_t *result,
                        spry_error *error)
{
    char name[NAME_SIZE];
    spry_status status = graph_add_node(g, what->type, what->domain != NULL ? what->domain : "",
                                        what->opset, what->input_count, 1, node, error);

    (void)snprintf(name, sizeof name, "%s_%s", what->base, what->suffix);
    if (status == SPRY_OK) {
        status = graph_add_value(g, name, result, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < what->input_count; i++) {
        graph_set_input(g, *node, i, what->inputs[i]);
    }
    graph_set_output(g, *node, 0, *result);
    g->nodes[*node].name = g->values[*result].name; /* of its own, as runtimes demand */
    return SPRY_OK;
}

spry_status insert_input(graph *g, int32_t node, int32_t port, int32_t value, spry_error *error)
{
    graph_node *n = &g->nodes[node];
    int32_t *inputs;

    if (port >= n->input_count) {
        inputs = arena_array(g->memory, (size_t)port + 1, sizeof *inputs);
        if (inputs == NULL) {
            return alloc_failed(error, ((size_t)port + 1) * sizeof *inputs);
        }
        for (int32_t i = 0; i <= port; i++) {
            inputs[i] = i < n->input_count ? n->inputs[i] : GRAPH_NONE;
        }
        n->inputs = inputs;
        n->input_count = port + 1;
    }
    graph_set_input(g, node, port, value);
    return SPRY_OK;
}

void insert_drop_attribute(graph *g, int32_t node, const char *name)
{
    graph_node *n = &g->nodes[node];
    int32_t kept = 0;

    for (int32_t i = 0; i < n->attribute_count; i++) {
        if (strcmp(n->attributes[i].name, name) != 0) {
            n->attributes[kept++] = n->attributes[i];
        }
    }
    n->attribute_count = kept;
}
