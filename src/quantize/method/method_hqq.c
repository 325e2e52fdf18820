/* HQQ (hqq.h), per block of a record. */
#include "base/alloc.h"
#include "quantize/format/format.h"
#include "quantize/method/hqq.h"
#include "quantize/method/method.h"

static const char *forbids(const quantize_job *job)
{
    return job->options->symmetric ? "moves zero points: leave out --symmetric and "
                                     "--activation-bits"
                                   : NULL;
}

typedef struct tensor_run {
    const method_call *call;
    weight_record *record;
} tensor_run;

/* Blocks of rows [begin, end). */
static void round_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const tensor_run *t = context;
    weight_record *r = t->record;
    grid_options grid = record_grid(r);

    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        for (int64_t k = 0; k < r->column_blocks; k++) {
            int64_t block = row * r->column_blocks + k;
            int64_t first = k * r->column_block;
            int64_t left = r->w.inputs - first;
            int64_t at = (row * r->w.inputs + first) * r->w.taps;
            hqq_group g = {.weights = t->call->dense + at,
                           .count = (left < r->column_block ? left : r->column_block) * r->w.taps,
                           .limits = grid_codes_of(&grid),
                           .whole = r->real_zeros == NULL,
                           .codes = r->codes + at};

            hqq_round(&g);
            r->steps[block] = g.step;
            if (g.whole) {
                r->zeros[block] = (int32_t)g.zero;
            } else {
                r->real_zeros[block] = g.zero;
            }
        }
    }
}

/* Zero points between codes where the format can say them. */
static spry_status offer_real_zeros(const quantize_job *job, weight_record *r, spry_error *error)
{
    r->real_zeros = arena_array(job->memory, (size_t)record_blocks(r), sizeof *r->real_zeros);
    if (r->real_zeros == NULL) {
        return alloc_failed(error, (size_t)record_blocks(r) * sizeof *r->real_zeros);
    }
    if (job->format->refuses(job, r) != NULL) {
        r->real_zeros = NULL;
    }
    return SPRY_OK;
}

static spry_status round_weights(const method_call *call, spry_error *error)
{
    tensor_run t = {call, call->record};
    spry_status status = offer_real_zeros(call->job, call->record, error);

    if (status == SPRY_OK) {
        threads_for(call->job->team, call->record->w.outputs, 1, round_rows, &t);
    }
    return status;
}

const method method_hqq = {
    .facts = {"hqq", "zero points that keep most weights near (needs no data)"},
    .forbids = forbids,
    .round = round_weights};
