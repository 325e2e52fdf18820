/* Every vector that is added: of linear operators, convolutions and norms (BitFit). */
#include "adapt/method.h"
#include "model/match.h"

/* Does the node make what a bias is added to: a product, or numbers times a vector? */
static bool takes_bias(const graph *g, int32_t id, int64_t count)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

    if (n == NULL) {
        return false;
    }
    if (graph_node_is(n, "Mul")) { /* the scale of a norm in its parts */
        return n->input_count == 2 && (structure_is_vector(g, n->inputs[0], count) ||
                                       structure_is_vector(g, n->inputs[1], count));
    }
    return graph_node_is(n, "MatMul") || graph_node_is(n, "Conv") ||
           graph_node_is(n, "ConvTranspose") || graph_node_is(n, "Einsum") ||
           graph_node_is(n, "LayerNormalization");
}

/* The input that is a bias; GRAPH_NONE: none is. */
static int32_t bias_port(const graph *g, const graph_node *n)
{
    static const char *const third[] = {"Conv",
                                        "ConvTranspose",
                                        "Gemm",
                                        "LayerNormalization",
                                        "BatchNormalization",
                                        "InstanceNormalization",
                                        "GroupNormalization"};

    for (size_t i = 0; i < sizeof third / sizeof third[0]; i++) {
        if (graph_node_is(n, third[i])) {
            int32_t id = structure_input(n, 2);
            const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

            return t != NULL && t->dtype == SPRY_DTYPE_F32 ? 2 : GRAPH_NONE;
        }
    }
    for (int32_t port = 0; graph_node_is(n, "Add") && n->input_count == 2 && port < 2; port++) {
        const tensor *t = graph_constant(g, n->inputs[port]);

        if (t != NULL && graph_constant(g, n->inputs[!port]) == NULL &&
            structure_is_vector(g, n->inputs[port], tensor_count(t)) &&
            (t->rank > 0 || tensor_count(t) > 1) &&
            takes_bias(g, n->inputs[!port], tensor_count(t))) {
            return port;
        }
    }
    return GRAPH_NONE;
}

static spry_status apply(rewrite *job, spry_error *error)
{
    const graph *s = job->s;
    int32_t before = job->trainable_count;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < s->node_count; i++) {
        const graph_node *n = &s->nodes[i];
        int32_t port = n->removed ? GRAPH_NONE : bias_port(s, n);
        int32_t parameter;

        if (port == GRAPH_NONE) {
            continue;
        }
        status = rewrite_parameter(job, n->outputs[0], port, &parameter, error);
        if (status == SPRY_OK) {
            status = rewrite_train(job, parameter, error);
        }
        if (status == SPRY_OK) {
            status = rewrite_mention(job, n->outputs[0], error);
        }
    }
    if (status == SPRY_OK && job->trainable_count == before) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path, "use lora or full",
                         "no biases: no operator adds a constant vector to a product, a "
                         "convolution or a norm");
    }
    return status;
}

const adapt_method adapt_method_bias = {
    .facts = {.name = "bias", .summary = "every bias, those of norms included"},
    .apply = apply,
};
