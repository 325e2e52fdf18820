/* The inside of spry_feed. */
#ifndef MEASURE_FEED_H
#define MEASURE_FEED_H

#include "base/arena.h"
#include "spry/feed.h"

enum { FEED_INPUTS_MOST = 4096 };

typedef struct feed_dimension {
    const char *name;
    int64_t size; /* -1 while nobody has said */
} feed_dimension;

typedef struct feed_input {
    spry_port port;
    int32_t dimension[SPRY_TENSOR_MAX_RANK]; /* index of the open dimension of an axis, or -1 */
    spry_value *value;
    bool is_random;
} feed_input;

struct spry_feed {
    spry_allocator allocator;
    const spry_model *model;
    arena memory; /* of everything below but the values */
    feed_input *inputs;
    int32_t input_count;
    feed_dimension *dimensions;
    int32_t dimension_count;
    const char **names; /* room for the arguments of a run */
    const spry_value **values;
};

/* The input of that name, or NULL. */
feed_input *feed_find(spry_feed *feed, const char *name);
/* The input's shape as far as it is known; open dimensions nobody has bound become `open`. The
 * port's rank must be stated. */
void feed_shape(const spry_feed *feed, const feed_input *input, int64_t open, int64_t *shape);
/* Replaces the input's value by a tensor, which is taken over (also on failure), and binds open
 * dimensions to its shape. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status feed_put(spry_feed *feed, feed_input *input, spry_tensor *content,
                                   spry_error *error);

#endif
