/* Feeds: the inputs of a model, gathered by name from values, files and random numbers.
 *
 *     spry_feed *feed = NULL;
 *     spry_status status = spry_feed_create(NULL, model, &feed, &error);
 *     status = spry_feed_load(feed, "image", "cat.jpg", &recipe, &error);
 *     status = spry_feed_fill_random(feed, 42, &error);       // whatever else the model takes
 *     status = spry_feed_run(feed, session, output_count, outputs, &error);
 *     spry_feed_destroy(feed);
 *
 * Dimensions that the model leaves open take their size from spry_feed_set_dimension, else from the
 * first input given that has them, else 1. A dimension is called by its symbol ("batch"), one
 * without a symbol by its input and axis ("image.0"). One thread at a time. */
#ifndef SPRY_FEED_H
#define SPRY_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/model.h"
#include "spry/preprocess.h"
#include "spry/session.h"
#include "spry/value.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_feed spry_feed;

/* An empty feed for `model`, which must outlive it. Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_feed_create(const spry_allocator *allocator,
                                                    const spry_model *model, spry_feed **feed,
                                                    spry_error *error);
/* Destroys the feed and its values; NULL is allowed. */
SPRY_API void spry_feed_destroy(spry_feed *feed);

/* Binds an open dimension, before anything that depends on it is loaded or drawn.
 * Fails with SPRY_USAGE (the model has no such dimension; size not in 0 to 2^31 - 1). */
SPRY_API SPRY_MUST_USE spry_status spry_feed_set_dimension(spry_feed *feed, const char *name,
                                                           int64_t size, spry_error *error);

/* Gives an input its value, which the feed takes over (also on failure, when it is destroyed).
 * Fails with SPRY_USAGE (the model has no such input). Type and shape are checked by the run. */
SPRY_API SPRY_MUST_USE spry_status spry_feed_set(spry_feed *feed, const char *name,
                                                 spry_value *value, spry_error *error);

/* Gives an input the content of a file: .npy, .npz, .safetensors, .bin and .raw (bare elements of
 * the model's type and shape); anything else is decoded as a picture and goes through `recipe`
 * (NULL: spry_preprocess_default). `name` may be NULL: then an archive feeds every input that it
 * has an entry for, and any other file the model's only input.
 * Element types that files of NumPy lack (bf16, f8, i4, ...) are narrowed from what they hold.
 * Fails with SPRY_USAGE (which input is meant is not clear; the picture does not fit), and as
 * spry_tensor_load, spry_image_load. */
SPRY_API SPRY_MUST_USE spry_status spry_feed_load(spry_feed *feed, const char *name,
                                                  const char *path, const spry_preprocess *recipe,
                                                  spry_error *error);

/* Draws every input that has no value yet, the same numbers for the same seed: floats from the
 * normal distribution, integers from 0 to 99, true for bool. Integer inputs called something with
 * "mask" are all ones, with "token_type" or "segment" zeros and ones, so that language models get
 * valid values.
 * Fails with SPRY_USAGE (the model does not state the input's type or rank, or it takes text),
 * SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_feed_fill_random(spry_feed *feed, uint64_t seed,
                                                         spry_error *error);

/* Runs `session`, made from the same model, on the feed: see spry_session_run. */
SPRY_API SPRY_MUST_USE spry_status spry_feed_run(const spry_feed *feed, spry_session *session,
                                                 int32_t output_count, spry_value **outputs,
                                                 spry_error *error);

/* What has become of the model's input `index`. The name lives as long as the model, the value
 * (NULL while not given) until it is replaced. */
SPRY_API int32_t spry_feed_count(const spry_feed *feed);
SPRY_API const char *spry_feed_name(const spry_feed *feed, int32_t index);
SPRY_API const spry_value *spry_feed_value(const spry_feed *feed, int32_t index);
SPRY_API bool spry_feed_is_random(const spry_feed *feed, int32_t index);

/* Outputs of the model. */
SPRY_API int32_t spry_feed_output_count(const spry_feed *feed);

/* An open dimension of the model. */
typedef struct spry_feed_dimension {
    const char *name; /* lives as long as the feed */
    int64_t size;
    bool is_assumed; /* nobody has said: 1 */
} spry_feed_dimension;

SPRY_API int32_t spry_feed_dimension_count(const spry_feed *feed);
/* Dimension `index`, which must be in range. */
SPRY_API spry_feed_dimension spry_feed_dimension_at(const spry_feed *feed, int32_t index);

#ifdef __cplusplus
}
#endif

#endif
