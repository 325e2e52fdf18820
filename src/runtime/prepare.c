/* From a model's graph to one that can be planned. */
#include "runtime/prepare.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "ops/op.h"

spry_status prepare_graph(const model *m, const spry_session_options *options, arena *memory,
                          graph **prepared, spry_error *error)
{
    spry_status status = graph_copy(m->main, memory, NULL, prepared, error);

    (void)options;
    if (status == SPRY_OK) {
        status = infer_graph(*prepared, error);
    }
    return status;
}

spry_status prepare_for_inputs(const graph *prepared, const value *const *inputs,
                               const spry_session_options *options, arena *memory,
                               graph **specialised, spry_error *error)
{
    spry_status status = graph_copy(prepared, memory, NULL, specialised, error);
    graph *g = *specialised;

    (void)options;
    for (int32_t i = 0; status == SPRY_OK && i < g->input_count; i++) {
        graph_type type;

        if (inputs[i] == NULL || inputs[i]->kind != SPRY_VALUE_TENSOR) {
            continue;
        }
        type = graph_type_tensor(inputs[i]->tensor.dtype, inputs[i]->tensor.rank,
                                 inputs[i]->tensor.shape);
        status = infer_bind_input(g, g->values[g->inputs[i]].name, &type, error);
    }
    return status == SPRY_OK ? infer_graph(g, error) : status;
}
