/* The list of methods. */
#include "quantize/method.h"

#include <string.h>

#include "base/alloc.h"
#include "quantize/choice.h"

static const method *const methods[] = {&method_squant, &method_nearest};

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

/* ---- rounding ---- */

static spry_status round_tensor(const method_call *call, squant_tensor *t, squant_stages stages,
                                spry_error *error)
{
    grid_options grid = record_grid(call->record);

    return squant_round(t, &grid, stages, &call->job->m->allocator, call->job->team, call->report,
                        error);
}

/* One block of columns as a tensor of its own. */
static spry_status round_columns(const method_call *call, int64_t block, squant_stages stages,
                                 float *dense, spry_error *error)
{
    weight_record *r = call->record;
    int64_t first = block * r->column_block;
    int64_t left = r->w.inputs - first;
    int64_t count = left < r->column_block ? left : r->column_block;
    float *steps = dense + r->w.outputs * count * r->w.taps;
    int32_t *zeros = (int32_t *)(steps + r->w.outputs);
    int8_t *codes = (int8_t *)(zeros + r->w.outputs);
    squant_tensor t = {dense, r->w.outputs, count, r->w.taps, codes, steps, zeros};
    size_t part = (size_t)(count * r->w.taps);
    spry_status status;

    for (int64_t m = 0; m < r->w.outputs; m++) {
        memcpy(dense + m * count * r->w.taps, call->dense + (m * r->w.inputs + first) * r->w.taps,
               part * sizeof *dense);
    }
    status = round_tensor(call, &t, stages, error);
    for (int64_t m = 0; status == SPRY_OK && m < r->w.outputs; m++) {
        r->steps[m * r->column_blocks + block] = steps[m];
        r->zeros[m * r->column_blocks + block] = zeros[m];
        memcpy(r->codes + (m * r->w.inputs + first) * r->w.taps, codes + m * count * r->w.taps,
               part);
    }
    return status;
}

spry_status method_round(const method_call *call, squant_stages stages, spry_error *error)
{
    const spry_allocator *a = &call->job->m->allocator;
    weight_record *r = call->record;
    squant_tensor t = {call->dense, r->w.outputs, r->w.inputs, r->w.taps,
                       r->codes,    r->steps,     r->zeros};
    size_t bytes;
    float *room;
    spry_status status = SPRY_OK;

    if (r->column_blocks == 1) {
        return round_tensor(call, &t, stages, error);
    }
    if (r->w.inputs % r->column_block == 0) { /* blocks lie side by side as channels do */
        t.outputs *= r->column_blocks;
        t.inputs = r->column_block;
        return round_tensor(call, &t, stages, error);
    }
    bytes = (size_t)r->w.outputs *
            ((size_t)(r->column_block * r->w.taps) * (sizeof *room + 1) + 2 * sizeof *room);
    room = alloc_bytes(a, bytes);
    for (int64_t i = 0; room != NULL && status == SPRY_OK && i < r->column_blocks; i++) {
        status = round_columns(call, i, stages, room, error);
    }
    alloc_release(a, room, bytes);
    return room != NULL ? status : alloc_failed(error, bytes);
}
