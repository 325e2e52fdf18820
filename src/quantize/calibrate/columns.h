/* The input of a layer with weights as columns: what one row of its weights is multiplied by to
 * give one output. Of a product a column is a row of its input, of a convolution it is the window
 * under the kernel, channel by channel, zero where it hangs over. */
#ifndef QUANTIZE_COLUMNS_H
#define QUANTIZE_COLUMNS_H

#include "ops/sliding_window.h"
#include "quantize/weights.h"

/* One input tensor of one operator, seen so. */
typedef struct columns {
    int64_t count;  /* columns in the tensor: pixels of the output, or rows */
    int64_t groups; /* of a convolution; 1 otherwise */
    int64_t size;   /* of a column in one group: inputs x taps of a row of weights */
    const float *x;
    /* products */
    int64_t row_stride, k_stride;
    /* convolutions */
    bool is_window, is_transposed;
    window w;
    int64_t taps, in_size, out_size;
} columns;

/* Groups that the operator cuts its channels into, or 0 where its input cannot be seen as columns:
 * transposed convolutions in groups. `node` uses the weights `w`. */
int64_t columns_groups(const graph *g, int32_t node, const weight *w);

/* Fills *c for the input `x` of `node`. Fails with SPRY_BAD_INPUT when they do not fit. */
SPRY_MUST_USE spry_status columns_of_input(const graph *g, int32_t node, const weight *w,
                                           const spry_tensor *x, columns *c, spry_error *error);

/* Copies column `index` to [groups][size]. */
void columns_gather(const columns *c, int64_t index, float *to);

/* What an operator of `outputs` output channels gives for column `index`, in its result [..]: where
 * output 0 of it is, and how far others are apart; NULL for a result that is NULL. */
const float *columns_result(const columns *c, int64_t index, int64_t outputs, const float *result,
                            int64_t *stride);

#endif
