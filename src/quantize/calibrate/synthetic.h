/* Noise in the place of samples: pictures that look like nothing, of the size of real ones. */
#ifndef QUANTIZE_SYNTHETIC_H
#define QUANTIZE_SYNTHETIC_H

#include "model/graph.h"
#include "spry/preprocess.h"
#include "spry/session.h"
#include "spry/tensor.h"

enum { SYNTHETIC_SAMPLES = 128 };

/* Samples [first, first + batch) as an f32 tensor of the shape of `input`, whose first dimension is
 * the batch; the caller destroys it. Where the recipe takes means off, numbers are normal with
 * mean 0 and deviation 1; else uniform; always between what the recipe makes of the pixels 0
 * and 255. Sample i of a picture is of squares of 2^(i mod 6) pixels, since real pictures are
 * smooth at all scales. The same on every machine. Fails with SPRY_USAGE (a dimension but the first
 * is free), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status synthetic_batch(const spry_allocator *allocator, const spry_port *input,
                                          const spry_preprocess *recipe, int64_t first,
                                          int64_t batch, spry_tensor **made, spry_error *error);

/* What the range of each value that noise reaches is multiplied by to cover what real pictures
 * would reach: 1 at the inputs, 2 at the end of the longest path through the graph, in proportion
 * between. What deep layers look for is not in noise. Results of functions
 * that are bounded keep their range. reach[value_count] lives in `memory`; the graph is sorted.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status synthetic_reach(const graph *g, arena *memory, double **reach,
                                          spry_error *error);

#endif
