/* Parts of the format qdq that others use for what they cannot say. */
#ifndef QUANTIZE_FORMAT_QDQ_H
#define QUANTIZE_FORMAT_QDQ_H

#include "quantize/job.h"

/* As format.h has it. */
int32_t format_qdq_best_opset(const quantize_job *job);

/* Why the record cannot be written as DequantizeLinear, as format.h has it; NULL when it can. */
const char *format_qdq_refuses(const quantize_job *job, const weight_record *r);

/* Lets all users of the weight read it through DequantizeLinear, with biases in steps of it where
 * their input is quantized. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status format_qdq_weight(quantize_job *job, const weight_record *r,
                                            spry_error *error);

/* All weights and activations of the job. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status format_qdq_write(quantize_job *job, spry_error *error);

#endif
