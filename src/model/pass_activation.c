/* Activations that exporters write as formulas: each is a product of x, a gate that is a function
 * of x, and a number, in any order.
 *
 *     Gelu       x * (1 + erf(x / sqrt(2))) * 1/2
 *     Gelu tanh  x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) * 1/2
 *     Swish      x * sigmoid(alpha x)
 *     HardSwish  x * HardSigmoid(x)      x * clip(x + 3, 0, 6) * 1/6 */
#include <string.h>

#include "model/match.h"
#include "model/pass.h"

enum { MOST_FACTORS_DEEP = 3 };

/* What a gate would make of the product. */
typedef struct activation {
    const char *type;
    int32_t opset;
    int32_t x;
    int32_t gate;
    double scale; /* of the product */
    float alpha;  /* of Swish */
    bool by_tanh; /* of Gelu */
} activation;

/* z of z * factor or z / (1 / factor); GRAPH_NONE when `id` is neither. */
static int32_t scaled(const graph *g, int32_t id, double *factor)
{
    const graph_node *product = match_producer(g, id, "Mul");
    const graph_node *quotient = match_producer(g, id, "Div");
    double divisor;

    if (product != NULL) {
        return match_beside_scalar(g, product, factor);
    }
    if (quotient == NULL || quotient->input_count != 2 ||
        !match_scalar(g, quotient->inputs[1], &divisor) || divisor == 0.0) {
        return GRAPH_NONE;
    }
    *factor = 1.0 / divisor;
    return quotient->inputs[0];
}

/* What stands beside the number in number + z. */
static int32_t moved(const graph *g, int32_t id, double number)
{
    const graph_node *sum = match_producer(g, id, "Add");
    double found;
    int32_t z = sum != NULL ? match_beside_scalar(g, sum, &found) : GRAPH_NONE;

    return z != GRAPH_NONE && match_near(found, number) ? z : GRAPH_NONE;
}

/* ---- gates ---- */

static bool is_cube(const graph *g, int32_t id, int32_t x)
{
    const graph_node *power = match_producer(g, id, "Pow");
    const graph_node *product = match_producer(g, id, "Mul");
    double exponent;
    int32_t square;

    if (power != NULL) {
        return power->input_count == 2 && power->inputs[0] == x &&
               match_scalar(g, power->inputs[1], &exponent) && match_near(exponent, 3.0);
    }
    square = product != NULL ? match_other(product, x) : GRAPH_NONE;
    product = square != GRAPH_NONE ? match_producer(g, square, "Mul") : NULL;
    return product != NULL && match_other(product, x) == x;
}

/* sqrt(2 / pi) * (x + 0.044715 x^3) */
static bool is_tanh_argument(const graph *g, int32_t id, int32_t *x)
{
    double factor;
    int32_t bent = scaled(g, id, &factor);
    const graph_node *sum = match_producer(g, bent, "Add");

    if (sum == NULL || sum->input_count != 2 || !match_near(factor, 0.79788456080286536)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        int32_t cube = scaled(g, sum->inputs[!i], &factor);

        *x = sum->inputs[i];
        if (cube != GRAPH_NONE && match_near(factor, 0.044715) && is_cube(g, cube, *x)) {
            return true;
        }
    }
    return false;
}

static bool gelu_gate(const graph *g, activation *a)
{
    int32_t bent = moved(g, a->gate, 1.0);
    const graph_node *erf = match_producer(g, bent, "Erf");
    const graph_node *tanh = match_producer(g, bent, "Tanh");
    double factor;

    a->type = "Gelu";
    a->opset = 20;
    a->scale = 0.5;
    if (erf != NULL) {
        a->x = scaled(g, erf->inputs[0], &factor);
        return a->x != GRAPH_NONE && match_near(factor, 0.70710678118654752);
    }
    a->by_tanh = true;
    return tanh != NULL && is_tanh_argument(g, tanh->inputs[0], &a->x);
}

static bool swish_gate(const graph *g, activation *a)
{
    const graph_node *sigmoid = match_producer(g, a->gate, "Sigmoid");

    if (sigmoid == NULL) {
        return false;
    }
    *a = (activation){"Swish", 24, sigmoid->inputs[0], a->gate, 1.0, 1.0f, false};
    return true;
}

/* sigmoid(alpha x), where the one before sees sigmoid(x). */
static bool scaled_swish_gate(const graph *g, activation *a)
{
    double factor;

    if (!swish_gate(g, a)) {
        return false;
    }
    a->x = scaled(g, a->x, &factor);
    a->alpha = a->x != GRAPH_NONE ? (float)factor : 1.0f;
    return a->x != GRAPH_NONE;
}

static bool hard_sigmoid_gate(const graph *g, activation *a)
{
    const graph_node *gate = match_producer(g, a->gate, "HardSigmoid");

    if (gate == NULL || gate->opset < 6 ||
        !match_near((double)graph_attribute_float(gate, "alpha", 0.2f), 1.0 / 6.0) ||
        !match_near((double)graph_attribute_float(gate, "beta", 0.5f), 0.5)) {
        return false;
    }
    *a = (activation){"HardSwish", 14, gate->inputs[0], a->gate, 1.0, 0.0f, false};
    return true;
}

static bool clip_gate(const graph *g, activation *a)
{
    const graph_node *clip = match_producer(g, a->gate, "Clip");
    double bounds[2];

    if (clip == NULL) {
        return false;
    }
    bounds[0] = (double)graph_attribute_float(clip, "min", -1.0f);
    bounds[1] = (double)graph_attribute_float(clip, "max", -1.0f);
    for (int i = 0; i < 2; i++) {
        if (clip->input_count > i + 1 && !match_scalar(g, clip->inputs[i + 1], &bounds[i])) {
            return false;
        }
    }
    *a = (activation){"HardSwish", 14,   moved(g, clip->inputs[0], 3.0), a->gate, 1.0 / 6.0,
                      0.0f,        false};
    return a->x != GRAPH_NONE && bounds[0] == 0.0 && bounds[1] == 6.0;
}

/* ---- the product ---- */

typedef struct factors {
    int xs, gates;
    double scale;
} factors;

/* Counts x, the gate and numbers in the product that is value `id`. False when there is more. */
static bool count_factors(const graph *g, const activation *a, int32_t id, int depth, factors *f)
{
    const graph_node *product = depth > 0 ? match_producer(g, id, "Mul") : NULL;
    double number;
    int32_t rest;

    if (id == a->x || id == a->gate) {
        f->xs += id == a->x;
        f->gates += id == a->gate;
        return true;
    }
    if (match_scalar(g, id, &number)) {
        f->scale *= number;
        return true;
    }
    if (product != NULL && product->input_count == 2) {
        return count_factors(g, a, product->inputs[0], depth - 1, f) &&
               count_factors(g, a, product->inputs[1], depth - 1, f);
    }
    rest = depth > 0 ? scaled(g, id, &number) : GRAPH_NONE;
    f->scale *= rest != GRAPH_NONE ? number : 1.0;
    return rest != GRAPH_NONE && count_factors(g, a, rest, depth - 1, f);
}

/* Is value `id` the activation that its factor `gate` promises? */
static bool is_gated_by(const graph *g, int32_t id, int32_t gate, activation *a)
{
    static bool (*const gates[])(const graph *g, activation *a) = {
        gelu_gate, swish_gate, scaled_swish_gate, hard_sigmoid_gate, clip_gate};

    for (size_t i = 0; i < sizeof gates / sizeof *gates; i++) {
        factors f = {.scale = 1.0};

        *a = (activation){.gate = gate};
        if (gates[i](g, a) && match_is_f32(g, a->x) &&
            count_factors(g, a, id, MOST_FACTORS_DEEP, &f) && f.xs == 1 && f.gates == 1 &&
            match_near(f.scale, a->scale)) {
            return true;
        }
    }
    return false;
}

/* Looks for the gate among the factors of `part`, which is one of those of `id`. */
static bool find_activation(const graph *g, int32_t id, int32_t part, int depth, activation *a)
{
    const graph_node *product = match_producer(g, part, "Mul");

    if (part != id && is_gated_by(g, id, part, a)) {
        return true;
    }
    product = product != NULL ? product : match_producer(g, part, "Div");
    if (product == NULL || depth == 0) {
        return false;
    }
    for (int32_t i = 0; i < product->input_count; i++) {
        if (find_activation(g, id, product->inputs[i], depth - 1, a)) {
            return true;
        }
    }
    return false;
}

static spry_status rewrite(graph *g, int32_t node, const activation *a, spry_error *error)
{
    spry_status status = match_become(g, node, a->type, a->opset, 1, &a->x, error);

    if (status == SPRY_OK && a->by_tanh) {
        status = graph_set_string(g, node, "approximate", "tanh", error);
    }
    if (status == SPRY_OK && a->alpha != 0.0f) {
        status = graph_set_float(g, node, "alpha", a->alpha, error);
    }
    return status;
}

spry_status pass_activation(graph *g, pass_context *c, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        int32_t result = !n->removed && n->output_count == 1 ? n->outputs[0] : GRAPH_NONE;
        activation a;

        if (result != GRAPH_NONE && find_activation(g, result, result, MOST_FACTORS_DEEP, &a)) {
            status = rewrite(g, i, &a, error);
            c->changes++;
        }
    }
    return status;
}
