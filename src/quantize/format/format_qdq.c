/* QDQ: QuantizeLinear and DequantizeLinear around unchanged operators. */
#include "quantize/format/format_qdq.h"
#include "base/alloc.h"
#include "quantize/choose.h"
#include "quantize/format/format.h"
#include "quantize/format/format_blocks.h"
#include "quantize/format/qdq.h"
#include "quantize/method/method.h"

enum { NARROW_BITS = 4 };

/* Does some operator that reads the weight read codes beside it? */
static bool meets_codes(const quantize_job *job, const weight_record *r)
{
    for (int32_t i = 0; i < r->user_count; i++) {
        if (job_input_record(job, r->users[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Codes of four bits and fewer, where nothing is computed in integers of eight. */
static bool is_narrow(const quantize_job *job, const weight_record *r)
{
    return job->opset >= QDQ_BLOCK_OPSET && r->bits <= NARROW_BITS && !meets_codes(job, r);
}

/* May some weight be narrow? */
static bool asks_for_narrow(const spry_quantize_options *o)
{
    bool narrow = o->weight_bits <= NARROW_BITS;
    bool has_floats = o->activation_bits == 0;

    for (int32_t i = 0; i < o->assignment_count; i++) {
        int bits = o->assignments[i].weight_bits;

        narrow = narrow || (bits > 0 && bits <= NARROW_BITS);
        has_floats = has_floats || o->assignments[i].activation_bits == 0;
    }
    return narrow && has_floats;
}

int32_t format_qdq_best_opset(const quantize_job *job)
{
    bool has_blocks = job->options->group != 0 || job->method == &method_ptq_sl;

    return asks_for_narrow(job->options) || has_blocks ? QDQ_BLOCK_OPSET : QDQ_LEAST_OPSET;
}

const char *format_qdq_refuses(const quantize_job *job, const weight_record *r)
{
    if (r->real_zeros != NULL) {
        return "has zero points that are codes";
    }
    return job->opset >= QDQ_BLOCK_OPSET || format_blocks_per_output(r)
               ? NULL
               : "has blocks of inputs from operator set 21 on, in which operators of this model "
                 "mean "
                 "something else";
}

static spry_status write_biases(quantize_job *job, const weight_record *r, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && record_is_per_channel(r) && i < r->user_count; i++) {
        const activation_record *input = job_input_record(job, r->users[i]);

        if (input != NULL) {
            status = qdq_replace_bias(job->m->main, r->users[i], input->grid.step, r->steps,
                                      r->w.outputs, job->opset, error);
        }
    }
    return status;
}

/* Steps [outputs][column_blocks] as the axes of the initializer have them. */
static void turn_grid(const weight_record *r, float *steps, int32_t *zeros)
{
    bool turned = r->w.output_axis == 1;
    int64_t n = r->w.outputs;
    int64_t blocks = r->column_blocks;

    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < blocks; k++) {
            int64_t to = turned ? k * n + i : i * blocks + k;

            steps[to] = r->steps[i * blocks + k];
            zeros[to] = r->zeros[i * blocks + k];
        }
    }
}

static void describe(const quantize_job *job, const weight_record *r, qdq_codes *c)
{
    bool is_per_channel = record_is_per_channel(r);
    int k_axis = 1 - r->w.output_axis;

    c->dtype = is_narrow(job, r) ? SPRY_DTYPE_I4 : SPRY_DTYPE_I8;
    c->symmetric = r->symmetric;
    c->axis = is_per_channel ? r->w.output_axis : k_axis;
    c->block = is_per_channel ? 0 : r->column_block;
    c->grid_rank = is_per_channel ? 1 : 2;
    c->grid_shape[0] = r->w.outputs;
    if (!is_per_channel) {
        c->grid_shape[r->w.output_axis] = r->w.outputs;
        c->grid_shape[k_axis] = r->column_blocks;
    }
}

/* Outputs that share a step get it each. */
static spry_status spread_steps(quantize_job *job, const weight_record *r, weight_record *to,
                                spry_error *error)
{
    size_t outputs = (size_t)r->w.outputs;

    *to = *r;
    to->row_map = NULL;
    to->column_map = NULL;
    to->row_block = 1;
    to->row_blocks = r->w.outputs;
    to->steps = arena_array(job->memory, outputs, sizeof *to->steps);
    to->zeros = arena_array(job->memory, outputs, sizeof *to->zeros);
    if (to->steps == NULL || to->zeros == NULL) {
        return alloc_failed(error, outputs * sizeof *to->steps);
    }
    format_blocks_output_grid(r, to->steps, to->zeros);
    return SPRY_OK;
}

spry_status format_qdq_weight(quantize_job *job, const weight_record *r, spry_error *error)
{
    weight_record per_output;
    bool with_codes = meets_codes(job, r);

    if (format_blocks_per_output(r) && !record_is_per_channel(r)) {
        spry_status status = spread_steps(job, r, &per_output, error);

        return status == SPRY_OK ? format_qdq_weight(job, &per_output, error) : status;
    }
    if (!record_is_per_channel(r) &&
        (with_codes || !record_is_grouped(r) || !weight_is_matrix(&r->w))) {
        return format_blocks_write(job, r, is_narrow(job, r) ? SPRY_DTYPE_I4 : SPRY_DTYPE_I8,
                                   with_codes, error);
    }
    const spry_allocator *a = &job->m->allocator;
    size_t count = (size_t)weight_count(&r->w);
    size_t blocks = (size_t)record_blocks(r);
    size_t bytes = blocks * (sizeof(float) + sizeof(int32_t)) + count;
    float *steps = alloc_bytes(a, bytes);
    qdq_codes c = {0};
    spry_status status;

    if (steps == NULL) {
        return alloc_failed(error, bytes);
    }
    int32_t *zeros = (int32_t *)(steps + blocks);
    int8_t *ordered = (int8_t *)(zeros + blocks); /* as the initializer */

    turn_grid(r, steps, zeros);
    weight_scatter(&r->w, r->codes, ordered);
    describe(job, r, &c);
    c.codes = ordered;
    c.steps = steps;
    c.zeros = zeros;
    status = write_biases(job, r, error);
    if (status == SPRY_OK) {
        status = qdq_replace_weight(job->m->main, &r->w, &c, job->opset, error);
    }
    alloc_release(a, steps, bytes);
    return status;
}

spry_status format_qdq_write(quantize_job *job, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = format_qdq_weight(job, &job->weights[i], error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->activation_count; i++) {
        const activation_record *a = &job->activations[i];

        status = qdq_replace_activation(job->m->main, a->value, &a->grid, job->opset, error);
    }
    return status;
}

const format format_qdq = {
    .facts = {"qdq", "QuantizeLinear and DequantizeLinear around unchanged operators"},
    .best_opset = format_qdq_best_opset,
    .refuses = format_qdq_refuses,
    .write = format_qdq_write};
