/* A quantization under way: what its steps share.
 *
 *     intake       the model in shape: float, folded, of an operator set with steps per channel
 *     choice       which operators and activations become integers
 *     calibration  grids of activations, from samples
 *     method       steps and codes of weights
 *     format       what the decisions look like in the file
 *
 * Until the format writes, the graph computes in f32: steps before it may run it. */
#ifndef QUANTIZE_JOB_H
#define QUANTIZE_JOB_H

#include "base/threads.h"
#include "model/model.h"
#include "quantize/calibrate/norm_ranges.h"
#include "quantize/facts.h"
#include "quantize/method/squant.h"
#include "quantize/record.h"
#include "spry/quantize.h"

typedef struct method method;
typedef struct format format;

typedef struct quantize_job {
    const spry_quantize_options *options;
    const method *method;
    const char *metric; /* of the method's search, and its rounds */
    int rounds;
    const format *format;
    squant_stages stages;
    model *m; /* the result */
    int32_t opset;
    threads *team;
    spry_quantization *facts;
    arena *memory;       /* lives as long as the result: records, codes */
    int32_t node_count;  /* before nodes were added */
    int32_t first, last; /* operators with weights; GRAPH_NONE before they are chosen */
    bool *is_integer;    /* [node_count]: its weights are to be quantised */
    weight_record *weights;
    int32_t weight_count;
    weight_record **record_of; /* [node_count]: of the weights that it reads; NULL: they stay f32 */
    activation_record *activations; /* none without activation_bits */
    int32_t activation_count;
    norm_ranges norms; /* of batch norms before they were folded; empty where samples tell more */
} quantize_job;

/* Checks the options and copies the model. Undo with job_close, also after a failure. Fails with
 * SPRY_USAGE, SPRY_LIMIT. */
SPRY_MUST_USE spry_status job_open(quantize_job *job, const spry_model *source,
                                   const spry_quantize_options *options, spry_error *error);
/* All steps but the last: afterwards records hold grids and codes, and job->m still computes in
 * f32. Fails as spry_quantize. */
SPRY_MUST_USE spry_status job_decide(quantize_job *job, spry_error *error);
/* What was decided becomes part of job->m. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status job_write(quantize_job *job, spry_error *error);
void job_close(quantize_job *job);

/* Inputs that share a step in the weights of `r`, as the options have it: matrices alone have
 * groups. */
static inline int64_t job_group(const quantize_job *job, const weight_record *r)
{
    int64_t group = job->options->group;

    return group > 0 && group < r->w.inputs && weight_is_matrix(&r->w) ? group : r->w.inputs;
}

#endif
