/* A float model brought in shape for quantization. */
#ifndef QUANTIZE_INTAKE_H
#define QUANTIZE_INTAKE_H

#include "quantize/job.h"

/* Folds constants and batch norms in job->m and raises it to an operator set with a step per
 * channel. Fails with SPRY_BAD_INPUT (quantized already), SPRY_UNSUPPORTED (operators that change
 * their meaning on the way), and as the passes do. */
SPRY_MUST_USE spry_status intake(quantize_job *job, spry_error *error);

#endif
