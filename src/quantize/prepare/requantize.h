/* A quantized model as float again, so that it can be quantized anew. */
#ifndef QUANTIZE_REQUANTIZE_H
#define QUANTIZE_REQUANTIZE_H

#include "quantize/job.h"

/* Removes QuantizeLinear and DequantizeLinear from job->m: constants behind DequantizeLinear become
 * f32, and an activation that was rounded is only clipped to what its codes could say, since
 * networks may rely on that (a Relu is often left to the codes). What the rounding has lost stays
 * lost. The graph is sorted afterwards. Fails with SPRY_UNSUPPORTED (steps that are computed or
 * differ within an activation), SPRY_LIMIT (memory), and as folding does. */
SPRY_MUST_USE spry_status requantize(quantize_job *job, spry_error *error);

#endif
