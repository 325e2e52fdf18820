/* Which products of a model of f32 are done in bf16 when options.precision asks for it.
 *
 * Inputs, results and sums stay f32; the factors of a product are rounded to bf16, which is worth
 * it where the instructions multiply twice as many of them. Stay f32: products too small to gain,
 * those whose results are the model's answer (scores of classes, for example: rounding there
 * changes the answer itself, in layers before it only what leads there), and everything that is not
 * a product with one matrix of weights, constant or not, or the gradient of one. On a processor
 * without such instructions everything stays f32, which is faster there. */
#ifndef RUNTIME_PRECISION_H
#define RUNTIME_PRECISION_H

#include "kernels/brgemm/brgemm.h"
#include "runtime/provider/provider.h"

/* True when the node multiplies quantized numbers, or makes or reads them. */
bool precision_is_quantized(const graph_node *n);

/* Refuses int8 for a model without quantized operators: quantizing it needs data, and is a step of
 * its own. Models that have them run as integers in any precision.
 * Fails with SPRY_UNSUPPORTED. */
SPRY_MUST_USE spry_status precision_check(const graph *g, const spry_session_options *options,
                                          spry_error *error);

/* The type in which the node multiplies: `depth` products make one result, `filters` results (or
 * columns) share an element of the input. */
brgemm_type precision_of_products(const provider_site *site, int64_t depth, int64_t filters);

/* The same for the gradient of weights, a matrix of `rows` x `columns`: it is no answer of a model,
 * whoever asks for it. */
brgemm_type precision_of_gradients(const provider_site *site, int64_t rows, int64_t columns);

#endif
