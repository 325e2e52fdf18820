/* Blocks of outputs x inputs, also of reordered channels, in QDQ form:
 *
 *     one block across      DequantizeLinear with a step per output channel
 *     matrices              DequantizeLinear with block_size along the inputs; where they meet
 *                           codes, Reshape to the same shape behind it
 *     convolutions          the same of a matrix [outputs][inputs x taps], then Reshape
 *     inputs reordered      codes in the order of blocks, then Gather of input channels
 *
 * Steps are repeated for the outputs of a block, so outputs never move. All but the first need
 * operator set 21. */
#ifndef QUANTIZE_FORMAT_BLOCKS_H
#define QUANTIZE_FORMAT_BLOCKS_H

#include "quantize/job.h"

/* A step per output channel, whichever outputs share one. */
static inline bool format_blocks_per_output(const weight_record *r)
{
    return r->column_blocks == 1;
}

/* Steps and zero points of the outputs then: [outputs]. */
void format_blocks_output_grid(const weight_record *r, float *steps, int32_t *zeros);

/* Lets every operator that uses the weight read it through such nodes; codes are stored as `dtype`.
 * `meets_codes`: some of them read codes beside it. The graph must be sorted afterwards. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status format_blocks_write(quantize_job *job, const weight_record *r,
                                              spry_dtype dtype, bool meets_codes,
                                              spry_error *error);

#endif
