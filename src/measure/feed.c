/* The feed itself: inputs, open dimensions, the call of the session. */
#include "measure/feed.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

/* ---- open dimensions ---- */

static int32_t find_dimension(const spry_feed *feed, const char *name)
{
    for (int32_t i = 0; i < feed->dimension_count; i++) {
        if (strcmp(feed->dimensions[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* The index of the dimension called `name`, new or known; -1 when memory ran out. */
static int32_t add_dimension(spry_feed *feed, const char *name)
{
    int32_t found = find_dimension(feed, name);
    char *copy;

    if (found >= 0) {
        return found;
    }
    copy = arena_text(&feed->memory, name, strlen(name));
    if (copy == NULL) {
        return -1;
    }
    feed->dimensions[feed->dimension_count] = (feed_dimension){copy, -1};
    return feed->dimension_count++;
}

static spry_status add_dimensions(spry_feed *feed, feed_input *input, spry_error *error)
{
    for (int axis = 0; axis < input->port.rank; axis++) {
        char numbered[LIMIT_NAME_BYTES + 8];
        const char *name = input->port.symbol[axis];

        input->dimension[axis] = -1;
        if (input->port.shape[axis] >= 0) {
            continue;
        }
        if (name == NULL || *name == '\0') {
            (void)snprintf(numbered, sizeof numbered, "%s.%d", input->port.name, axis);
            name = numbered;
        }
        input->dimension[axis] = add_dimension(feed, name);
        if (input->dimension[axis] < 0) {
            return alloc_failed(error, strlen(name));
        }
    }
    return SPRY_OK;
}

spry_status spry_feed_set_dimension(spry_feed *feed, const char *name, int64_t size,
                                    spry_error *error)
{
    int32_t index = find_dimension(feed, name);
    char list[SPRY_ERROR_REMEDY_SIZE];
    size_t used = 0;

    if (index >= 0 && size >= 0 && size <= LIMIT_TENSOR_DIMENSION) {
        feed->dimensions[index].size = size;
        return SPRY_OK;
    }
    if (index >= 0) {
        return spry_fail(error, SPRY_USAGE, name, NULL, "a dimension cannot have size %lld",
                         (long long)size);
    }
    (void)snprintf(list, sizeof list, "this model has no open dimensions");
    for (int32_t i = 0; i < feed->dimension_count && used < sizeof list; i++) {
        int length =
            snprintf(list + used, sizeof list - used, "%s%s",
                     i == 0 ? "its open dimensions are: " : ", ", feed->dimensions[i].name);

        used += length > 0 ? (size_t)length : 0;
    }
    return spry_fail(error, SPRY_USAGE, name, list, "no input has an open dimension of this name");
}

int32_t spry_feed_dimension_count(const spry_feed *feed)
{
    return feed->dimension_count;
}

spry_feed_dimension spry_feed_dimension_at(const spry_feed *feed, int32_t index)
{
    const feed_dimension *d = &feed->dimensions[index];

    return (spry_feed_dimension){d->name, d->size >= 0 ? d->size : 1, d->size < 0};
}

void feed_shape(const spry_feed *feed, const feed_input *input, int64_t open, int64_t *shape)
{
    for (int axis = 0; axis < input->port.rank; axis++) {
        int32_t d = input->dimension[axis];

        shape[axis] = d < 0 ? input->port.shape[axis] : feed->dimensions[d].size;
        shape[axis] = shape[axis] < 0 ? open : shape[axis];
    }
}

/* ---- life ---- */

static spry_status fill_ports(spry_feed *feed, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < feed->input_count && status == SPRY_OK; i++) {
        status = spry_model_input(feed->model, i, &feed->inputs[i].port, error);
        if (status == SPRY_OK) {
            status = add_dimensions(feed, &feed->inputs[i], error);
        }
    }
    return status;
}

static spry_status make_room(spry_feed *feed, spry_error *error)
{
    size_t count = (size_t)feed->input_count;

    if (feed->input_count > FEED_INPUTS_MOST) {
        return spry_fail(error, SPRY_LIMIT, "model", NULL, "it has %d inputs, more than %d",
                         feed->input_count, FEED_INPUTS_MOST);
    }
    feed->inputs = arena_array(&feed->memory, count + 1, sizeof *feed->inputs);
    feed->names = arena_array(&feed->memory, count + 1, sizeof *feed->names);
    feed->values = arena_array(&feed->memory, count + 1, sizeof *feed->values);
    feed->dimensions =
        arena_array(&feed->memory, count * SPRY_TENSOR_MAX_RANK + 1, sizeof *feed->dimensions);
    if (feed->inputs == NULL || feed->names == NULL || feed->values == NULL ||
        feed->dimensions == NULL) {
        return alloc_failed(error, count);
    }
    return SPRY_OK;
}

spry_status spry_feed_create(const spry_allocator *allocator, const spry_model *model,
                             spry_feed **feed, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    spry_feed *made = alloc_zeroed(&resolved, sizeof *made);
    spry_status status;

    *feed = NULL;
    if (made == NULL) {
        return alloc_failed(error, sizeof *made);
    }
    made->allocator = resolved;
    made->model = model;
    made->input_count = spry_model_input_count(model);
    arena_init(&made->memory, &resolved, SIZE_MAX);
    status = make_room(made, error);
    if (status == SPRY_OK) {
        status = fill_ports(made, error);
    }
    if (status != SPRY_OK) {
        made->input_count = made->inputs != NULL ? made->input_count : 0;
        spry_feed_destroy(made);
        return status;
    }
    *feed = made;
    return SPRY_OK;
}

void spry_feed_destroy(spry_feed *feed)
{
    spry_allocator allocator;

    if (feed == NULL) {
        return;
    }
    for (int32_t i = 0; i < feed->input_count; i++) {
        spry_value_destroy(feed->inputs[i].value);
    }
    arena_fini(&feed->memory);
    allocator = feed->allocator;
    alloc_release(&allocator, feed, sizeof *feed);
}

/* ---- values ---- */

feed_input *feed_find(spry_feed *feed, const char *name)
{
    for (int32_t i = 0; i < feed->input_count; i++) {
        if (strcmp(feed->inputs[i].port.name, name) == 0) {
            return &feed->inputs[i];
        }
    }
    return NULL;
}

static void learn_dimensions(spry_feed *feed, const feed_input *input, const spry_tensor *content)
{
    if (content == NULL || spry_tensor_rank(content) != input->port.rank) {
        return;
    }
    for (int axis = 0; axis < input->port.rank; axis++) {
        int32_t d = input->dimension[axis];

        if (d >= 0 && feed->dimensions[d].size < 0) {
            feed->dimensions[d].size = spry_tensor_shape(content)[axis];
        }
    }
}

static void put_value(spry_feed *feed, feed_input *input, spry_value *value)
{
    spry_value_destroy(input->value);
    input->value = value;
    input->is_random = false;
    learn_dimensions(feed, input, spry_value_tensor(value));
}

spry_status feed_put(spry_feed *feed, feed_input *input, spry_tensor *content, spry_error *error)
{
    spry_value *value = NULL;
    spry_status status = spry_value_from_tensor(&feed->allocator, content, &value, error);

    if (status == SPRY_OK) {
        put_value(feed, input, value);
    }
    return status;
}

spry_status spry_feed_set(spry_feed *feed, const char *name, spry_value *value, spry_error *error)
{
    feed_input *input = feed_find(feed, name);

    if (input == NULL) {
        spry_value_destroy(value);
        return spry_fail(error, SPRY_USAGE, name, "spry inspect lists the inputs",
                         "the model has no input of this name");
    }
    put_value(feed, input, value);
    return SPRY_OK;
}

int32_t spry_feed_count(const spry_feed *feed)
{
    return feed->input_count;
}

const char *spry_feed_name(const spry_feed *feed, int32_t index)
{
    return feed->inputs[index].port.name;
}

const spry_value *spry_feed_value(const spry_feed *feed, int32_t index)
{
    return feed->inputs[index].value;
}

bool spry_feed_is_random(const spry_feed *feed, int32_t index)
{
    return feed->inputs[index].is_random;
}

int32_t spry_feed_output_count(const spry_feed *feed)
{
    return spry_model_output_count(feed->model);
}

spry_status spry_feed_run(const spry_feed *feed, spry_session *session, int32_t output_count,
                          spry_value **outputs, spry_error *error)
{
    int32_t count = 0;

    for (int32_t i = 0; i < feed->input_count; i++) {
        if (feed->inputs[i].value != NULL) {
            feed->names[count] = feed->inputs[i].port.name;
            feed->values[count++] = feed->inputs[i].value;
        }
    }
    return spry_session_run(session, count, feed->names, feed->values, output_count, outputs,
                            error);
}
