/* Refusing, folding, raising. */
#include "quantize/prepare/intake.h"

#include <string.h>

#include "model/pass.h"
#include "quantize/assignment.h"
#include "quantize/format/format.h"
#include "quantize/format/qdq.h"
#include "quantize/prepare/raise.h"
#include "quantize/prepare/requantize.h"

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
                "start from the float model it was made of, or give up on it with --requantize",
                "the model is quantized already");
        }
    }
    return SPRY_OK;
}

/* To the set in which the format is at its best if all operators mean the same there, else to the
 * first that will do. */
static spry_status raise_model(quantize_job *job, spry_error *error)
{
    int32_t best = job->format->best_opset != NULL ? job->format->best_opset(job) : QDQ_LEAST_OPSET;
    spry_status status =
        raise_opset(job->m, raise_fits(job->m, best) ? best : QDQ_LEAST_OPSET, error);

    job->opset = (int32_t)model_opset_version(job->m, "");
    return status;
}

/* Batch norms say what their results are like. Preparations would change these. */
static spry_status record_norms(quantize_job *job, spry_error *error)
{
    const spry_quantize_options *o = job->options;
    bool is_prepared = o->prepare != NULL && o->prepare[0] != '\0';

    return o->calibration == NULL && !is_prepared && assignment_wants_activations(o)
               ? norm_ranges_record(job->m->main, job->memory, &job->norms, error)
               : SPRY_OK;
}

/* Folds what is constant and batch norms, in the way of files: the operators stay the model's. */
spry_status intake(quantize_job *job, spry_error *error)
{
    pass_context context = {.m = job->m, .team = job->team, .for_file = true};
    spry_status status = job->options->requantize ? requantize(job, error) : SPRY_OK;

    if (status == SPRY_OK) {
        status = check_is_float(job->m->main, error);
    }
    if (status == SPRY_OK) {
        status = record_norms(job, error);
    }
    if (status == SPRY_OK) {
        status = pass_run_all(job->m->main, &context, error);
    }
    return status == SPRY_OK ? raise_model(job, error) : status;
}
