/* Recipes inside the library: resolved once against a model's input, applied to many samples. */
#ifndef DATA_PREPROCESS_H
#define DATA_PREPROCESS_H

#include <stdbool.h>

#include "spry/preprocess.h"
#include "tensor/tensor.h"

/* What samples are to become. -1: taken from the first sample (see preprocess_plan_init). */
typedef struct preprocess_plan {
    const spry_preprocess *recipe;
    spry_dtype dtype;
    spry_layout layout;                  /* never auto */
    int rank;                            /* of the input, with the batch */
    int64_t shape[SPRY_TENSOR_MAX_RANK]; /* [0] is not used */
    bool flat;                           /* not rank 4: only the number of elements counts */
    int64_t channels;
    int64_t height;
    int64_t width;
    float table[SPRY_PREPROCESS_MAX_CHANNELS][256]; /* pictures: what each pixel value becomes */
} preprocess_plan;

/* Resolves recipe and input against `sample`, the first one: u8[H,W,C] when `picture`, otherwise
 * any numbers. All other samples must then give the same shape.
 * Fails with SPRY_USAGE when they do not fit; `where` names the sample. */
SPRY_MUST_USE spry_status preprocess_plan_init(preprocess_plan *plan, const spry_preprocess *recipe,
                                               const tensor *sample, bool picture, spry_dtype dtype,
                                               int rank, const int64_t *shape, const char *where,
                                               spry_error *error);

/* Fills `batch` as an owned tensor for `count` samples. Fails as tensor_init_owned. */
SPRY_MUST_USE spry_status preprocess_plan_batch(const preprocess_plan *plan,
                                                const spry_allocator *allocator, int64_t count,
                                                tensor *batch, spry_error *error);

/* Writes `sample` to position `index` of the batch.
 * Fails with SPRY_USAGE (does not fit: the error names `where`), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status preprocess_apply(const preprocess_plan *plan,
                                           const spry_allocator *allocator, const tensor *sample,
                                           bool picture, const char *where, tensor *batch,
                                           int64_t index, spry_error *error);

#endif
