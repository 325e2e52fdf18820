/* Labelled data: samples with a class each, from files in common forms.
 *
 *     spry_dataset *data = NULL;
 *     spry_status status = spry_dataset_open(NULL, "cifar10:test_batch.bin", &data, &error);
 *     status = spry_dataset_batch(data, 0, 100, &recipe, SPRY_DTYPE_F32, 4, shape, &batch, labels,
 *                                 &error);
 *     spry_dataset_close(data);
 *
 * A set is named KIND:PATH.
 *
 *     cifar10   a CIFAR-10 binary file, or the folder with test_batch.bin
 *     idx       MNIST's form, also gzipped: PREFIX-images-idx3-ubyte and PREFIX-labels-idx1-ubyte;
 *               PATH is either file, FOLDER/PREFIX, or the folder (prefix t10k)
 *     folder    one subfolder of pictures per class; classes in the order of their names
 *     labels    a text file with a line per picture: file, class number, more columns ignored, tabs
 *               or blanks between; files lie beside it or in its subfolder images/
 *     npz       arrays images, data, x or features, and labels or y; the first axis counts samples.
 *               u8 [M,C,H,W], [M,H,W,C] or [M,H,W] are pictures, everything else numbers. Integer
 *               numbers with scalars scale and zero_point become (value - zero_point) x scale.
 *               PATH@ARRAY takes the array of that name for the samples.
 *
 *     safetensors  tensors of the same names as in npz
 *     csv       columns of numbers, and one with the class: the last, or the one that PATH@COLUMN
 *               names or numbers from 1. A line of names, quotes, and semicolons or tabs instead of
 *               commas are understood. Classes are numbers from 0, or words, which are numbered by
 *               name. A sample is f32[columns - 1].
 *
 * Samples are read when asked for: memory does not grow with their number, except for a few bytes
 * per file name, line and label, for deflated NPZ entries, and for gzipped files of up to 64 MB
 * that are not read in order: these are unpacked as a whole. Several threads may read at once. */
#ifndef SPRY_DATASET_H
#define SPRY_DATASET_H

#include <stdint.h>

#include "spry/preprocess.h"
#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_dataset spry_dataset;

/* Opens the set and reads its labels.
 * Fails with SPRY_USAGE (no such kind), SPRY_IO (missing files), SPRY_BAD_INPUT (malformed, empty,
 * counts that differ), SPRY_UNSUPPORTED (an element type), SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_dataset_open(const spry_allocator *allocator,
                                                     const char *description,
                                                     spry_dataset **dataset, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_dataset_close(spry_dataset *dataset);

/* Number of samples, at least 1. */
SPRY_API int64_t spry_dataset_count(const spry_dataset *dataset);
/* Number of classes: one more than the largest label, or the number of folders. */
SPRY_API int64_t spry_dataset_class_count(const spry_dataset *dataset);
/* Name of a class, valid as long as the set; NULL when it has none. */
SPRY_API const char *spry_dataset_class_name(const spry_dataset *dataset, int64_t label);
/* Class of sample `index`; -1 when out of range. */
SPRY_API int64_t spry_dataset_label(const spry_dataset *dataset, int64_t index);
/* Name of the n-th kind, NULL behind the last. */
SPRY_API const char *spry_dataset_kind(int32_t index);

/* Sample `index` as stored: a picture u8[H,W,C], or numbers of any type and shape.
 * Fails with SPRY_USAGE (index), SPRY_IO, SPRY_BAD_INPUT (unreadable), SPRY_UNSUPPORTED,
 * SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_dataset_sample(spry_dataset *dataset, int64_t index,
                                                       spry_tensor **sample, spry_error *error);

/* Samples [first, first + count) prepared by a recipe for a model input of `dtype`, `rank` and
 * `shape` (its first dimension is ignored; -1 is taken from the first sample; see
 * spry_preprocess_image). `labels` (may be NULL) receives `count` classes.
 * Fails as spry_dataset_sample and spry_preprocess_image. */
SPRY_API SPRY_MUST_USE spry_status spry_dataset_batch(spry_dataset *dataset, int64_t first,
                                                      int64_t count, const spry_preprocess *recipe,
                                                      spry_dtype dtype, int rank,
                                                      const int64_t *shape, spry_tensor **batch,
                                                      int64_t *labels, spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
