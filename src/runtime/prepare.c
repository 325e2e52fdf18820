/* From a model's graph to one that can be planned. */
#include "runtime/prepare.h"
#include "runtime/integer/byte_pool.h"

#include "model/infer.h"
#include "model/pass.h"
#include "model/support.h"
#include "runtime/attention/attention.h"
#include "runtime/block/block.h"
#include "runtime/blocks.h"
#include "runtime/fuse.h"
#include "runtime/integer/integer.h"
#include "runtime/layout/layout.h"
#include "runtime/nbits.h"
#include "runtime/pair.h"
#include "runtime/precision.h"
#include "runtime/region/region.h"

spry_status prepare_graph(const model *m, const spry_session_options *options, threads *team,
                          arena *memory, graph **prepared, spry_error *error)
{
    pass_context context = {.m = m, .team = team, .inline_all = options->keep_order};
    spry_status status = graph_copy(m->main, memory, NULL, prepared, error);

    if (status == SPRY_OK) {
        (*prepared)->source = m;
        status = pass_inline(*prepared, &context, error);
    }
    if (status == SPRY_OK) {
        status = infer_graph(*prepared, error);
    }
    if (status == SPRY_OK) {
        status = support_check(*prepared, error);
    }
    if (status == SPRY_OK) {
        status = precision_check(*prepared, options, error);
    }
    if (status == SPRY_OK && !options->keep_order) {
        status = pass_run_all(*prepared, &context, error);
    }
    model_release_pages(m); /* what was folded has been read for the last time */
    return status;
}

/* What integer kernels leave over runs in f32, so its weights are dequantized once and for all. */
static spry_status clean_up(graph *g, const spry_session_options *options, threads *team,
                            spry_error *error)
{
    pass_context quantised = {.team = team};
    pass_context plain = {.team = team, .fold_dequantize = true};
    spry_status status = pass_run_all(g, &quantised, error);

    if (status == SPRY_OK) {
        status = integer_graph(g, options, error);
    }
    if (status == SPRY_OK) {
        status = blocks_graph(g, options, error);
    }
    if (status == SPRY_OK) {
        status = nbits_graph(g, options, error);
    }
    return status == SPRY_OK ? pass_run_all(g, &plain, error) : status;
}

spry_status prepare_for_inputs(const graph *prepared, const value *const *inputs,
                               const spry_session_options *options, threads *team, arena *memory,
                               graph **specialised, spry_error *error)
{
    spry_status status = graph_copy(prepared, memory, NULL, specialised, error);
    graph *g = *specialised;

    for (int32_t i = 0; status == SPRY_OK && i < g->input_count; i++) {
        graph_value *v = &g->values[g->inputs[i]];
        graph_type type;

        /* An input with an initializer is one of the two from here on. */
        if (inputs[i] == NULL) {
            v->is_input = v->constant == NULL;
            continue;
        }
        v->constant = NULL;
        if (inputs[i]->kind != SPRY_VALUE_TENSOR) {
            continue;
        }
        type = graph_type_tensor(inputs[i]->tensor.dtype, inputs[i]->tensor.rank,
                                 inputs[i]->tensor.shape);
        status = infer_bind_input(g, v->name, &type, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    return options->keep_order ? infer_graph(g, error) : clean_up(g, options, team, error);
}

spry_status prepare_for_speed(graph *g, const spry_session_options *options, spry_error *error)
{
    spry_status status = attention_graph(g, error);

    if (status == SPRY_OK) {
        status = fuse_graph(g, options, error);
    }
    if (status == SPRY_OK) {
        status = layout_graph(g, options, error);
    }
    if (status == SPRY_OK) {
        status = fuse_activations(g, options, error);
    }
    if (status == SPRY_OK) {
        status = byte_pool_graph(g, options, error);
    }
    if (status == SPRY_OK) {
        status = region_graph(g, options, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    return options->blocks != NULL ? block_graph(g, options, error) : pair_graph(g, options, error);
}
