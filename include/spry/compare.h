/* Comparison: how far tensors are from their references, summed over any number of runs.
 *
 *     spry_comparison *comparison = NULL;
 *     spry_status status = spry_comparison_create(NULL, &comparison, &error);
 *     status = spry_comparison_add(comparison, "logits", reference, other, &error);
 *     const spry_difference *rows = NULL;
 *     int32_t count = spry_comparison_rows(comparison, &rows);
 *     spry_comparison_destroy(comparison); */
#ifndef SPRY_COMPARE_H
#define SPRY_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/model.h"
#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_difference {
    const char *name;
    int64_t elements;
    int64_t odd;      /* elements that are infinite or not a number on one side only */
    double max_abs;   /* largest distance; infinite when there are odd elements */
    double mean_abs;  /* of the others, as everything below */
    double range;     /* largest reference less the smallest, at least the largest magnitude */
    double max_rel;   /* max_abs / range; 0 / 0 is 0 */
    double cosine;    /* of the angle between both as vectors; 1 when both are zero */
    double sqnr_db;   /* 10 log10(sum reference^2 / sum difference^2); infinite when equal */
    double agreement; /* fraction of rows along the last axis whose largest element is at the same
                          place; -1 where rows have fewer than two elements */
    double suspicion; /* decibels by which sqnr_db lies below all rows before it; 0 when not */
} spry_difference;

typedef struct spry_comparison spry_comparison;

/* Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_comparison_create(const spry_allocator *allocator,
                                                          spry_comparison **comparison,
                                                          spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_comparison_destroy(spry_comparison *comparison);

/* Adds one pair under `name` (copied) to what has been added under it before.
 * Fails with SPRY_USAGE (shapes differ), SPRY_UNSUPPORTED (text, complex numbers), SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_comparison_add(spry_comparison *comparison,
                                                       const char *name,
                                                       const spry_tensor *reference,
                                                       const spry_tensor *other, spry_error *error);

/* One row per name in the order of first use; valid until the next call. Returns how many. */
SPRY_API int32_t spry_comparison_rows(spry_comparison *comparison, const spry_difference **rows);

/* A model like `source`, which must outlive it, whose intermediate results that `other` computes
 * too, under the same names, are outputs behind its own. A value that QuantizeLinear and
 * DequantizeLinear round is given after the rounding, under its own name. Fails with SPRY_LIMIT
 * (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_model_expose(const spry_model *source,
                                                     const spry_model *other, spry_model **exposed,
                                                     spry_error *error);

/* Does the model compute with quantized numbers? */
SPRY_API bool spry_model_is_quantized(const spry_model *m);

/* The label of the operator with weights that value `name`, or what a quantizer has made of it,
 * comes from, along first inputs, into `label`; NULL when there is none. */
SPRY_API const char *spry_model_find_layer(const spry_model *m, const char *name, char *label,
                                           size_t size);

#ifdef __cplusplus
}
#endif

#endif
