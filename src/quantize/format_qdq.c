/* QDQ: QuantizeLinear and DequantizeLinear around unchanged operators. */
#include "base/alloc.h"
#include "quantize/choose.h"
#include "quantize/format.h"
#include "quantize/qdq.h"

static const char *refuses(const quantize_job *job, const weight_record *r)
{
    (void)job;
    return record_is_per_channel(r) ? NULL : "has one step per output channel";
}

/* Biases first: their users are found by the weights that they still have. */
static spry_status write_biases(quantize_job *job, const weight_record *r, spry_error *error)
{
    graph *g = job->m->main;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < job->node_count; i++) {
        const activation_record *input = job_input_record(job, i);
        const char *reason;
        weight other;

        if (input != NULL && weight_of_node(g, i, &other, &reason) && other.value == r->w.value &&
            other.output_axis == r->w.output_axis) {
            status =
                qdq_replace_bias(g, i, input->grid.step, r->steps, r->w.outputs, job->opset, error);
        }
    }
    return status;
}

static spry_status write_weight(quantize_job *job, const weight_record *r, spry_error *error)
{
    const spry_allocator *a = &job->m->allocator;
    size_t count = (size_t)weight_count(&r->w);
    int8_t *ordered = alloc_bytes(a, count); /* as the initializer */
    qdq_codes codes = {ordered, r->steps, r->zeros, r->symmetric};
    spry_status status;

    if (ordered == NULL) {
        return alloc_failed(error, count);
    }
    weight_scatter(&r->w, r->codes, ordered);
    status = write_biases(job, r, error);
    if (status == SPRY_OK) {
        status = qdq_replace_weight(job->m->main, &r->w, &codes, job->opset, error);
    }
    alloc_release(a, ordered, count);
    return status;
}

static spry_status write(quantize_job *job, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = write_weight(job, &job->weights[i], error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->activation_count; i++) {
        const activation_record *a = &job->activations[i];

        status = qdq_replace_activation(job->m->main, a->value, &a->grid, job->opset, error);
    }
    return status;
}

const format format_qdq = {
    .facts = {"qdq", "QuantizeLinear and DequantizeLinear around unchanged operators"},
    .refuses = refuses,
    .write = write};
