/* From what a search found per layer to the model: the records, and whether what is best for single
 * products is any good to the answer. */
#ifndef QUANTIZE_SEARCH_CHECK_H
#define QUANTIZE_SEARCH_CHECK_H

#include "quantize/job.h"
#include "quantize/layers.h"
#include "quantize/method/search.h"

/* The job's activations, and steps of its weights, become what was found: results[found->count].
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status search_write(quantize_job *job, const layers *found,
                                       const search_result *results, spry_error *error);

/* Samples that whole models are run on, at most, and how many models that is: what a check costs
 * depends neither on the number of samples nor on the depth of the network. */
enum { SEARCH_CHECK_SAMPLES = 256, SEARCH_CHECK_MODELS = 4 };

/* Is what has the errors better[count] >= 0 better than what has worse[count], sample by sample, by
 * more than chance? The mean logarithm of their ratio must be so far below 0 that nine in ten
 * normal numbers of its standard error are nearer. */
bool search_is_better(const double *better, const double *worse, int64_t count);

/* affine[i] is the grid of layer i that a model without a search for grids would have. Runs whole
 * quantized models on calibration samples: with these everywhere, with what was found behind
 * Softmax, behind Gelu, and elsewhere, one after the other; where the scores are no better by
 * search_is_better, affine[i] takes the place of results[i]. The weights of `job` must be cut; they
 * are read alone. Fails as running the model does. */
SPRY_MUST_USE spry_status search_check(const quantize_job *job, const layers *found,
                                       search_result *results, const search_result *affine,
                                       spry_error *error);

#endif
