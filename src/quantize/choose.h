/* Which weights and activations become integers. */
#ifndef QUANTIZE_CHOOSE_H
#define QUANTIZE_CHOOSE_H

#include "quantize/job.h"

/* Fills job->is_integer and job->weights (not yet cut), and makes job->facts with the operators
 * that stay f32. Fails with SPRY_UNSUPPORTED (nothing to quantize), SPRY_BAD_INPUT (a weight that
 * is infinite or not a number), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status choose_weights(quantize_job *job, spry_error *error);

/* Fills job->activations, without grids: what integer operators read, and products and sums of
 * those. None without activation_bits. Fails as infer_graph does. */
SPRY_MUST_USE spry_status choose_activations(quantize_job *job, spry_error *error);

/* The record of the activation that `node` reads first, or NULL when that stays f32. */
const activation_record *job_input_record(const quantize_job *job, int32_t node);

#endif
