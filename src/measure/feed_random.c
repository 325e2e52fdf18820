/* Random inputs that models accept. */
#include <string.h>

#include "measure/feed.h"
#include "spry/random.h"
#include "tensor/convert.h"

/* Ranges [low, low + count) of integer inputs by a part of their name; the last row fits all. */
static const struct {
    const char *part;
    int64_t low;
    uint64_t count;
} integer_ranges[] = {
    {"mask", 1, 1},
    {"token_type", 0, 2},
    {"segment", 0, 2},
    {"", 0, 100},
};

static void draw_integers(tensor *t, const char *name, spry_random *random)
{
    size_t row = 0;

    while (strstr(name, integer_ranges[row].part) == NULL) {
        row++;
    }
    for (int64_t start = 0; start < tensor_count(t); start += CONVERT_BLOCK) {
        int64_t block[CONVERT_BLOCK];
        int64_t left = tensor_count(t) - start;
        int64_t count = left < CONVERT_BLOCK ? left : CONVERT_BLOCK;

        for (int64_t i = 0; i < count; i++) {
            block[i] = integer_ranges[row].low +
                       (int64_t)spry_random_below(random, integer_ranges[row].count);
        }
        convert_write_i64(t, start, count, block);
    }
}

static void draw_floats(tensor *t, spry_random *random)
{
    for (int64_t start = 0; start < tensor_count(t); start += CONVERT_BLOCK) {
        float block[CONVERT_BLOCK];
        int64_t left = tensor_count(t) - start;
        int64_t count = left < CONVERT_BLOCK ? left : CONVERT_BLOCK;

        spry_random_fill_normal(random, block, (size_t)count, 0.0f, 1.0f);
        convert_write_f32(t, start, count, block);
    }
}

/* Returns false for types that cannot be drawn. */
static bool draw(tensor *t, const char *name, spry_random *random)
{
    switch (dtype_class_of(t->dtype)) {
    case DTYPE_CLASS_FLOAT: draw_floats(t, random); return true;
    case DTYPE_CLASS_SIGNED:
    case DTYPE_CLASS_UNSIGNED: draw_integers(t, name, random); return true;
    case DTYPE_CLASS_BOOL: memset(t->data, 1, t->bytes); return true;
    default: return false;
    }
}

static spry_status fill(spry_feed *feed, feed_input *input, spry_random random, spry_error *error)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_tensor *made = NULL;
    spry_status status;

    if (input->port.dtype == SPRY_DTYPE_NONE || input->port.rank < 0) {
        return spry_fail(error, SPRY_USAGE, input->port.name, "give this input a file",
                         "the model does not say what type and rank this input has");
    }
    feed_shape(feed, input, 1, shape);
    status = spry_tensor_create(&feed->allocator, input->port.dtype, input->port.rank, shape, &made,
                                error);
    if (status != SPRY_OK) {
        return status;
    }
    if (!draw(made, input->port.name, &random)) {
        spry_tensor_destroy(made);
        return spry_fail(error, SPRY_USAGE, input->port.name, "give this input a file",
                         "random numbers cannot stand for elements of type %s",
                         spry_dtype_name(input->port.dtype));
    }
    /* What is drawn binds no dimension: a size nobody gave is reported as assumed. */
    status = spry_value_from_tensor(&feed->allocator, made, &input->value, error);
    input->is_random = status == SPRY_OK;
    return status;
}

spry_status spry_feed_fill_random(spry_feed *feed, uint64_t seed, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < feed->input_count && status == SPRY_OK; i++) {
        if (feed->inputs[i].value == NULL) {
            status = fill(feed, &feed->inputs[i], spry_random_stream(seed, (uint64_t)i), error);
        }
    }
    return status;
}
