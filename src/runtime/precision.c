/* The choice between f32 and bf16, node by node. */
#include "runtime/precision.h"

#include <string.h>

enum {
    LEAST_DEPTH = 32, /* fewer products do not pay for rounding the input */
    LEAST_FILTERS = 16,
    MOST_STEPS = 8 /* between the node and the model's output */
};

/* What may stand between the last product and the answer. */
static const char *const answer_types[] = {"Softmax", "LogSoftmax", "Sigmoid",   "Reshape",
                                           "Flatten", "Squeeze",    "Unsqueeze", "Identity",
                                           "Cast",    "Transpose",  NULL};

static bool only_restates(const graph_node *n)
{
    for (const char *const *type = answer_types; *type != NULL; type++) {
        if (strcmp(n->type, *type) == 0) {
            return true;
        }
    }
    return false;
}

/* The node that reads the value and only restates it, or NULL: nobody, or real work. */
static const graph_node *restating_reader(const graph *g, int32_t id)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (!n->removed && n->input_count > 0 && n->inputs[0] == id && only_restates(n)) {
            return n;
        }
    }
    return NULL;
}

static bool is_answer(const graph *g, const graph_node *node)
{
    int32_t id = node->outputs[0];

    for (int i = 0; i < MOST_STEPS; i++) {
        const graph_node *reader;

        if (g->values[id].is_output) {
            return true;
        }
        reader = restating_reader(g, id);
        if (reader == NULL) {
            return false;
        }
        id = reader->outputs[0];
    }
    return false;
}

/* ---- models of integers ---- */

static const char *const quantized_types[] = {"QuantizeLinear",
                                              "DequantizeLinear",
                                              "DynamicQuantizeLinear",
                                              "MatMulInteger",
                                              "ConvInteger",
                                              "MatMulNBits",
                                              NULL};

bool precision_is_quantized(const graph_node *n)
{
    for (const char *const *type = quantized_types; *type != NULL; type++) {
        if (strcmp(n->type, *type) == 0) {
            return true;
        }
    }
    return strncmp(n->type, "QLinear", strlen("QLinear")) == 0;
}

static bool has_quantized(const graph *g)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (precision_is_quantized(n)) {
            return true;
        }
        for (int32_t a = 0; a < n->attribute_count; a++) {
            const graph_attribute *attribute = &n->attributes[a];

            if (attribute->kind == GRAPH_ATTRIBUTE_GRAPH &&
                has_quantized(attribute->as.graphs[0])) {
                return true;
            }
        }
    }
    return false;
}

spry_status precision_check(const graph *g, const spry_session_options *options, spry_error *error)
{
    if (options->precision != SPRY_PRECISION_INT8 || has_quantized(g)) {
        return SPRY_OK;
    }
    return spry_fail(error, SPRY_UNSUPPORTED, "precision",
                     "quantize the model first, or use f32 or bf16",
                     "int8 is for quantized models, and this one has no quantized operators");
}

/* ---- products ---- */

static bool is_wanted(const provider_site *site)
{
    return site->options->precision == SPRY_PRECISION_BF16 && isa_has_bf16();
}

brgemm_type precision_of_products(const provider_site *site, int64_t depth, int64_t filters)
{
    return is_wanted(site) && depth >= LEAST_DEPTH && filters >= LEAST_FILTERS &&
                   !is_answer(site->g, site->node)
               ? BRGEMM_BF16
               : BRGEMM_F32;
}

brgemm_type precision_of_gradients(const provider_site *site, int64_t rows, int64_t columns)
{
    return is_wanted(site) && rows >= LEAST_FILTERS && columns >= LEAST_FILTERS / 2 ? BRGEMM_BF16
                                                                                    : BRGEMM_F32;
}
