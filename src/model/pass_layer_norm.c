/* LayerNormalization as exporters wrote it before it was an operator:
 *
 *     d = x - mean(x)
 *     y = d / sqrt(mean(d^2) + epsilon) * scale [+ bias]
 *
 * with means over the last axis. */
#include <string.h>

#include "model/match.h"
#include "model/pass.h"
#include "tensor/convert.h"

typedef struct layer_norm {
    int32_t inputs[3]; /* x, scale, bias */
    int32_t count;
    double epsilon;
} layer_norm;

/* The value whose mean over the last axis, kept as an axis of one, is `id`; else GRAPH_NONE. */
static int32_t mean_of(const graph *g, int32_t id)
{
    const graph_node *n = match_producer(g, id, "ReduceMean");
    int64_t count = 0;
    const int64_t *axes = n != NULL ? graph_attribute_ints(n, "axes", &count) : NULL;
    const tensor *list = n != NULL && n->input_count > 1 && n->inputs[1] != GRAPH_NONE
                             ? graph_constant(g, n->inputs[1])
                             : NULL;
    int64_t axis;

    if (n == NULL || !match_is_f32(g, n->inputs[0]) || graph_attribute_int(n, "keepdims", 1) == 0) {
        return GRAPH_NONE;
    }
    if (list != NULL && list->dtype == SPRY_DTYPE_I64 && tensor_count(list) == 1) {
        axis = convert_get_i64(list, 0);
    } else if (axes != NULL && count == 1) {
        axis = axes[0];
    } else {
        return GRAPH_NONE;
    }
    return axis == -1 || axis == g->values[n->inputs[0]].type.rank - 1 ? n->inputs[0] : GRAPH_NONE;
}

/* x when `id` is x - mean(x). */
static int32_t distance_of(const graph *g, int32_t id)
{
    const graph_node *n = match_producer(g, id, "Sub");

    return n != NULL && n->input_count == 2 && mean_of(g, n->inputs[1]) == n->inputs[0]
               ? n->inputs[0]
               : GRAPH_NONE;
}

/* What `id` is the square of. */
static int32_t root_of(const graph *g, int32_t id)
{
    const graph_node *power = match_producer(g, id, "Pow");
    const graph_node *product = match_producer(g, id, "Mul");
    double exponent;

    if (power != NULL && power->input_count == 2 && match_scalar(g, power->inputs[1], &exponent) &&
        exponent == 2.0) {
        return power->inputs[0];
    }
    return product != NULL && product->input_count == 2 && product->inputs[0] == product->inputs[1]
               ? product->inputs[0]
               : GRAPH_NONE;
}

/* x when `id` is sqrt(mean((x - mean(x))^2) + epsilon). */
static int32_t deviation_of(const graph *g, int32_t id, double *epsilon)
{
    const graph_node *root = match_producer(g, id, "Sqrt");
    const graph_node *sum = root != NULL ? match_producer(g, root->inputs[0], "Add") : NULL;
    int32_t variance = sum != NULL ? match_beside_scalar(g, sum, epsilon) : GRAPH_NONE;

    return distance_of(g, root_of(g, mean_of(g, variance)));
}

/* x when `id` is x, normalised: a quotient, or a product with a reciprocal. */
static int32_t normalised_of(const graph *g, int32_t id, double *epsilon)
{
    const graph_node *quotient = match_producer(g, id, "Div");
    const graph_node *product = match_producer(g, id, "Mul");
    const graph_node *inverse;
    int32_t x;

    if (quotient != NULL && quotient->input_count == 2) {
        x = distance_of(g, quotient->inputs[0]);
        return x != GRAPH_NONE && deviation_of(g, quotient->inputs[1], epsilon) == x ? x
                                                                                     : GRAPH_NONE;
    }
    for (int i = 0; product != NULL && product->input_count == 2 && i < 2; i++) {
        inverse = match_producer(g, product->inputs[!i], "Reciprocal");
        x = inverse != NULL ? distance_of(g, product->inputs[i]) : GRAPH_NONE;
        if (x != GRAPH_NONE && deviation_of(g, inverse->inputs[0], epsilon) == x) {
            return x;
        }
    }
    return GRAPH_NONE;
}

/* One number per element of x's last axis. */
static bool is_row(const graph *g, int32_t id, int32_t x)
{
    const graph_type *like = &g->values[x].type;
    const graph_type *type = match_is_f32(g, id) ? &g->values[id].type : NULL;

    return type != NULL && type->rank == 1 && type->dims[0].size > 0 &&
           type->dims[0].size == like->dims[like->rank - 1].size;
}

static bool read_scaled(const graph *g, int32_t id, layer_norm *l)
{
    const graph_node *n = match_producer(g, id, "Mul");

    for (int i = 0; n != NULL && n->input_count == 2 && i < 2; i++) {
        int32_t x = normalised_of(g, n->inputs[i], &l->epsilon);

        if (x != GRAPH_NONE && is_row(g, n->inputs[!i], x)) {
            l->inputs[0] = x;
            l->inputs[1] = n->inputs[!i];
            l->count = 2;
            return true;
        }
    }
    return false;
}

static bool read_moved(const graph *g, int32_t id, layer_norm *l)
{
    const graph_node *n = match_producer(g, id, "Add");

    for (int i = 0; n != NULL && n->input_count == 2 && i < 2; i++) {
        if (read_scaled(g, n->inputs[i], l) && is_row(g, n->inputs[!i], l->inputs[0])) {
            l->inputs[2] = n->inputs[!i];
            l->count = 3;
            return true;
        }
    }
    return false;
}

spry_status pass_layer_norm(graph *g, pass_context *c, spry_error *error)
{
    spry_status status = SPRY_OK;

    /* From the end, so that a bias is seen before what it is added to. */
    for (int32_t i = g->node_count - 1; status == SPRY_OK && i >= 0; i--) {
        const graph_node *n = &g->nodes[i];
        int32_t result = !n->removed && n->output_count == 1 ? n->outputs[0] : GRAPH_NONE;
        layer_norm l;

        if (result == GRAPH_NONE || (!read_moved(g, result, &l) && !read_scaled(g, result, &l))) {
            continue;
        }
        status = match_become(g, i, "LayerNormalization", 17, l.count, l.inputs, error);
        if (status == SPRY_OK) {
            status = graph_set_float(g, i, "epsilon", (float)l.epsilon, error);
        }
        c->changes++;
    }
    return status;
}
