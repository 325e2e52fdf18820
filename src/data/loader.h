/* Batches for training: drawn, read, augmented and prepared by threads ahead of their use.
 *
 *     loader *l = NULL;
 *     spry_status status = loader_create(data, &options, NULL, &l, &error);
 *     loader_seek(l, step);
 *     status = loader_next(l, &batch, &error);
 *     ... batch->inputs, batch->labels ...
 *     loader_destroy(l);
 *
 *     step s -> sampler -> dataset -> augment -> preprocess -> one of ahead + 1 places, in turn
 *
 * The batch of a step is a function of the options and the data alone: not of the number of
 * threads, nor of the steps before. So training continues where it was interrupted by seeking
 * there. */
#ifndef DATA_LOADER_H
#define DATA_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "data/augment.h"
#include "data/sampler.h"
#include "spry/dataset.h"
#include "tensor/tensor.h"

typedef struct loader loader;

enum { LOADER_MAX_THREADS = 64, LOADER_MAX_AHEAD = 1024 };

typedef struct loader_options {
    int64_t batch; /* samples per step; POISSON: not used */
    sampler_kind order;
    double rate; /* POISSON: probability of each sample */
    uint64_t seed;
    const spry_preprocess *recipe; /* copied; NULL: spry_preprocess_default */
    const augment *augment;        /* copied; NULL: none */
    spry_dtype dtype;              /* the model's input, as in spry_dataset_batch: */
    int rank;
    int64_t shape[SPRY_TENSOR_MAX_RANK]; /* [0] is not used; -1: taken from the data */
    int threads; /* that prepare; 0: the caller's own, when it asks for a batch */
    int ahead;   /* batches prepared in advance, at least 1 when there are threads */
    bool strict; /* an unreadable sample is an error; otherwise another one stands in for it */
} loader_options;

/* One batch; valid until the next call with the loader. */
typedef struct loader_batch {
    const tensor *inputs;   /* [count, ...] */
    const int64_t *labels;  /* [count] */
    const int64_t *indices; /* [count]: which samples */
    int64_t count;          /* options.batch, or fewer: 0 and up under POISSON */
    int64_t step;
    int64_t epoch;
} loader_batch;

/* Prepares to read from `d`, which must outlive the loader; starts with step 0.
 * Fails with SPRY_USAGE (options out of range, a batch larger than the data, augmentation, recipe
 * and data that do not fit), SPRY_LIMIT (memory), and as reading the first sample does. */
SPRY_MUST_USE spry_status loader_create(spry_dataset *d, const loader_options *options,
                                        const spry_allocator *allocator, loader **made,
                                        spry_error *error);
/* May be called at any time; waits for the samples being read. NULL is allowed. */
void loader_destroy(loader *l);

/* The next batch will be that of `step` (at least 0). */
void loader_seek(loader *l, int64_t step);
/* Waits for the batch of the next step. After the first batches nothing is allocated any more,
 * except by decoders of pictures, and for a POISSON batch larger than all before.
 * Fails with SPRY_IO, SPRY_BAD_INPUT, SPRY_UNSUPPORTED (a sample cannot be read, and `strict`; or
 * none can that could stand in), SPRY_USAGE (a sample does not fit recipe and model), SPRY_LIMIT.
 * After a failure the next call tries the same step again. */
SPRY_MUST_USE spry_status loader_next(loader *l, const loader_batch **batch, spry_error *error);

int64_t loader_steps_per_epoch(const loader *l);
/* The shape of batches of options.batch samples, with -1 resolved: `rank` dimensions. */
const int64_t *loader_shape(const loader *l);
/* Different samples that could not be read so far. */
int64_t loader_skipped(const loader *l);
/* Why the first of them could not, for a warning, "FILE: what is wrong"; NULL when all could. */
const char *loader_warning(const loader *l);

#endif
