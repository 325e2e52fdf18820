/* What is told about a quantization: the inside of spry_quantization. */
#ifndef QUANTIZE_FACTS_H
#define QUANTIZE_FACTS_H

#include "base/arena.h"
#include "model/graph.h"
#include "quantize/method/squant.h"
#include "quantize/record.h"
#include "spry/quantize.h"

struct spry_quantization {
    spry_allocator allocator;
    arena memory;
    spry_quantize_row *rows;
    int32_t row_count;
    spry_quantize_skip *skips;
    int32_t skip_count;
    spry_quantize_layer *layers;
    int32_t layer_count;
    int32_t activations;
    spry_quantize_sources sources;
    int64_t macs, integer_macs;
};

/* Room for a row and a skip per node of `g`. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status facts_create(const spry_allocator *allocator, const graph *g,
                                       spry_quantization **facts, spry_error *error);

/* A weight that has its codes; dense[outputs][inputs][taps] are the numbers they stand for, `begun`
 * is when work on it began (clock_ns). Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status facts_add_row(spry_quantization *f, const graph *g,
                                        const weight_record *r, const float *dense,
                                        const squant_report *report, int64_t begun,
                                        spry_error *error);

/* Fills sqnr_db of the row, and `worst` with the block whose ratio of signal to noise is lowest.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status facts_measure(spry_quantization *f, const weight_record *r,
                                        const float *dense, spry_quantize_row *row,
                                        spry_error *error);

/* An operator that stays f32; `reason` is not copied. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status facts_add_skip(spry_quantization *f, const graph *g, int32_t node,
                                         const char *reason, spry_error *error);

/* What a search found for the product `node`; the row's `node` is set here, its remark
 * copied. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status facts_add_layer(spry_quantization *f, const graph *g, int32_t node,
                                          const spry_quantize_layer *row, spry_error *error);

#endif
