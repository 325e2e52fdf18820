/* Refusing, folding, raising. */
#include "quantize/intake.h"

#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "ops/op.h"
#include "quantize/qdq.h"

static bool is_integer_operator(const graph_node *n)
{
    static const char *const types[] = {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
        "QLinearMatMul",  "ConvInteger",      "MatMulInteger",         "MatMulNBits"};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(n->type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

static spry_status check_is_float(const graph *g, spry_error *error)
{
    char label[256];

    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed && is_integer_operator(&g->nodes[i])) {
            return spry_fail(
                error, SPRY_BAD_INPUT, graph_node_label(g, &g->nodes[i], label, sizeof label),
                "start from the float model it was made of", "the model is quantized already");
        }
    }
    return SPRY_OK;
}

/* Brings the model to the first operator set with a step per channel, where no operator changes its
 * meaning on the way. */
static spry_status raise_opset(quantize_job *job, spry_error *error)
{
    graph *g = job->m->main;
    char label[256];
    model_opset *opsets;

    job->opset = (int32_t)model_opset_version(job->m, "");
    if (job->opset >= QDQ_LEAST_OPSET) {
        return SPRY_OK;
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (!n->removed && n->domain[0] == '\0' &&
            op_find("", n->type, n->opset) != op_find("", n->type, QDQ_LEAST_OPSET)) {
            return spry_fail(error, SPRY_UNSUPPORTED, graph_node_label(g, n, label, sizeof label),
                             "export the model again with operator set 13 or newer",
                             "its meaning changes between operator sets %d and %d, which steps per "
                             "channel need",
                             job->opset, QDQ_LEAST_OPSET);
        }
    }
    job->opset = QDQ_LEAST_OPSET;
    opsets = arena_array(&job->m->memory, (size_t)job->m->opset_count, sizeof *opsets);
    if (opsets == NULL) {
        return alloc_failed(error, sizeof *opsets);
    }
    for (int32_t i = 0; i < job->m->opset_count; i++) {
        opsets[i] = job->m->opsets[i];
        if (opsets[i].domain[0] == '\0') {
            opsets[i].version = QDQ_LEAST_OPSET;
        }
    }
    job->m->opsets = opsets;
    for (int32_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].domain[0] == '\0') {
            g->nodes[i].opset = QDQ_LEAST_OPSET;
        }
    }
    return SPRY_OK;
}

/* Folds what is constant and batch norms, in the way of files: the operators stay the model's. */
spry_status intake(quantize_job *job, spry_error *error)
{
    pass_context context = {.m = job->m, .team = job->team, .for_file = true};
    spry_status status = check_is_float(job->m->main, error);

    if (status == SPRY_OK) {
        status = pass_run_all(job->m->main, &context, error);
    }
    return status == SPRY_OK ? raise_opset(job, error) : status;
}
