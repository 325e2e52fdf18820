/* Weights quantized in blocks of outputs x inputs that share a step (weight_record): steps,
 * roundings and orders of channels. Steps are symmetric:
 *
 *     value = code * step      code in [-2^(bits - 1), 2^(bits - 1) - 1]
 *     step  = absmax / (2^(bits - 1) - 1/2)
 *
 * so that the largest number lies half a step beyond the last code, at either end. A block of zeros
 * has step 1. Kernels are never cut: a block holds all taps of its inputs. */
#ifndef QUANTIZE_BLOCKS_H
#define QUANTIZE_BLOCKS_H

#include "quantize/method/squant.h"
#include "quantize/record.h"

/* Cuts the record into blocks of `row_block` outputs x `column_block` inputs, each at least 1; what
 * is larger than the weight means all. Orders say which channel comes at which place before the
 * cut: output_order[place] is an output; NULL: as they are. They are not kept. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status blocks_cut(weight_record *r, int64_t row_block, int64_t column_block,
                                     const int32_t *output_order, const int32_t *input_order,
                                     arena *memory, spry_error *error);

/* The codes of such a record. */
static inline grid_codes blocks_codes(const weight_record *r)
{
    int32_t half = 1 << (r->bits - 1);

    return (grid_codes){-half, half - 1};
}

static inline float blocks_round_one(float x, float step, grid_codes limits)
{
    float code = __builtin_rintf(x / step);

    code = code < (float)limits.low ? (float)limits.low : code;
    return code > (float)limits.high ? (float)limits.high : code;
}

/* Sets steps from the largest numbers, zero points to 0. */
void blocks_absmax(weight_record *r, const float *dense);

/* Multiplies each step by the factor that gives the least squared error of weights: one of
 * `count` >= 2 evenly spaced in [least, most], or 1 when none is better. Fails with SPRY_LIMIT
 * (memory). */
SPRY_MUST_USE spry_status blocks_least_error(weight_record *r, const float *dense, double least,
                                             double most, int count,
                                             const spry_allocator *allocator, spry_error *error);

/* Codes nearest to the weights. */
void blocks_round(weight_record *r, const float *dense);

/* The nearest codes, but some roundings turned round so that errors cancel, by SQuant's stages
 * (squant.h). `report` may be NULL. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status blocks_flip(weight_record *r, const float *dense, squant_stages stages,
                                      const spry_allocator *allocator, threads *team,
                                      squant_report *report, spry_error *error);

/* What the codes stand for, [outputs][inputs][taps]. */
void blocks_values(const weight_record *r, float *values);

/* Sum of squared errors of weights. */
double blocks_error(const weight_record *r, const float *dense);

/* The order of channels in which blocks are contiguous: order[place] is a channel. `blocks` is how
 * many there are; `map` is NULL for channels as they are. */
void blocks_order(const int32_t *map, int64_t channels, int64_t blocks, int32_t *order);

#endif
