/* The list of methods. */
#include "quantize/method/method.h"

#include "quantize/choice.h"

static const method *const methods[] = {&method_squant, &method_nearest, &method_adaround,
                                        &method_hqq,    &method_gptq,    &method_ptq_sl,
                                        &method_ptq4vit};

enum { METHODS = sizeof methods / sizeof methods[0] };

const spry_quantize_choice *spry_quantize_method_at(int32_t index)
{
    return index >= 0 && index < METHODS ? &methods[index]->facts : NULL;
}

spry_status method_find(const char *name, const method **found, spry_error *error)
{
    int32_t index = 0;
    spry_status status = choice_find("method", name, spry_quantize_method_at, &index, error);

    *found = status == SPRY_OK ? methods[index] : NULL;
    return status;
}

spry_status method_cut_weight(quantize_job *job, weight_record *r, spry_error *error)
{
    return record_cut(r, 1, job_group(job, r), job->memory, error);
}

spry_status method_cut(quantize_job *job, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = method_cut_weight(job, &job->weights[i], error);
    }
    return status;
}

spry_status method_round(const method_call *call, squant_stages stages, spry_error *error)
{
    weight_record *r = call->record;
    grid_options grid = record_grid(r);
    squant_tensor t = {.weights = call->dense,
                       .outputs = r->w.outputs,
                       .inputs = r->w.inputs,
                       .taps = r->w.taps,
                       .codes = r->codes,
                       .steps = r->steps,
                       .zeros = r->zeros,
                       .row_block = r->row_block,
                       .column_block = r->column_block,
                       .column_blocks = r->column_blocks,
                       .row_map = r->row_map,
                       .column_map = r->column_map,
                       .means = r->input_means};

    return squant_round(&t, &grid, stages, &call->job->m->allocator, call->job->team, call->report,
                        error);
}
