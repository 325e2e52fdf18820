/* Operators of one element without parameters, or with those that networks use. */
#include "runtime/activation.h"

#include <math.h>
#include <string.h>

#include "runtime/chain.h"

typedef struct activation_row {
    const char *name;
    activation_f32_kind kind;
    const char *type;  /* operator */
    const char *slope; /* its attribute, or NULL */
    float fallback;    /* of the slope */
    float wanted;
} activation_row;

static const activation_row rows[] = {
    {"elu", ACTIVATION_F32_ELU, "Elu", "alpha", 1.0f, 1.0f},
    {"gelu", ACTIVATION_F32_GELU, "Gelu", NULL, 0.0f, 0.0f},
    {"gelu_tanh", ACTIVATION_F32_GELU_TANH, "Gelu", NULL, 0.0f, 0.0f},
    {"hard_sigmoid", ACTIVATION_F32_HARD_SIGMOID, "HardSigmoid", "alpha", 0.2f, 0.2f},
    {"hard_sigmoid_sixth", ACTIVATION_F32_HARD_SIGMOID_SIXTH, "HardSigmoid", "alpha", 0.2f,
     1.0f / 6.0f},
    {"hard_swish", ACTIVATION_F32_HARD_SWISH, "HardSwish", NULL, 0.0f, 0.0f},
    {"leaky_relu", ACTIVATION_F32_LEAKY_RELU, "LeakyRelu", "alpha", 0.01f, 0.01f},
    {"leaky_relu_tenth", ACTIVATION_F32_LEAKY_RELU_TENTH, "LeakyRelu", "alpha", 0.01f, 0.1f},
    {"mish", ACTIVATION_F32_MISH, "Mish", NULL, 0.0f, 0.0f},
    {"sigmoid", ACTIVATION_F32_SIGMOID, "Sigmoid", NULL, 0.0f, 0.0f},
    {"softplus", ACTIVATION_F32_SOFTPLUS, "Softplus", NULL, 0.0f, 0.0f},
    {"swish", ACTIVATION_F32_SWISH, "Swish", "alpha", 1.0f, 1.0f},
    {"tanh", ACTIVATION_F32_TANH, "Tanh", NULL, 0.0f, 0.0f},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* Does the node say of itself what the row does not tell from the slope alone? */
static bool fits_rest(const activation_row *row, const graph_node *n)
{
    const char *form = graph_attribute_string(n, "approximate", "none");

    switch (row->kind) {
    case ACTIVATION_F32_GELU: return strcmp(form, "none") == 0;
    case ACTIVATION_F32_GELU_TANH: return strcmp(form, "tanh") == 0;
    case ACTIVATION_F32_HARD_SIGMOID:
    case ACTIVATION_F32_HARD_SIGMOID_SIXTH: return graph_attribute_float(n, "beta", 0.5f) == 0.5f;
    default: return true;
    }
}

const char *activation_of_node(const graph_node *n)
{
    enum { ROUNDING = 4 }; /* exporters write slopes with about seven digits */

    for (int i = 0; i < ROWS; i++) {
        const activation_row *row = &rows[i];
        float slope =
            row->slope != NULL ? graph_attribute_float(n, row->slope, row->fallback) : row->wanted;

        if (graph_node_is(n, row->type) && fits_rest(row, n) &&
            fabsf(slope - row->wanted) <= ROUNDING * 6e-8f * row->wanted) {
            return row->name;
        }
    }
    return NULL;
}

elementwise_f32_map *activation_find(const char *name)
{
    for (int i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return activation_f32_select()->run[rows[i].kind];
        }
    }
    return NULL;
}
