/* Tokens into models. */
#include "measure/text_feed.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tensor/value.h"

static const struct {
    const char *name;
    text_role role;
} known[] = {
    {"input_ids", TEXT_IDS},           {"ids", TEXT_IDS},
    {"attention_mask", TEXT_MASK},     {"input_mask", TEXT_MASK},
    {"token_type_ids", TEXT_SEGMENTS}, {"segment_ids", TEXT_SEGMENTS},
    {"position_ids", TEXT_POSITIONS},
};

/* Exports often add ":0" to names. */
static bool is_called(const char *port, const char *name)
{
    size_t length = strlen(name);

    return strncmp(port, name, length) == 0 &&
           (port[length] == '\0' || strcmp(port + length, ":0") == 0);
}

static int find_role(const char *port)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (is_called(port, known[i].name)) {
            return (int)known[i].role;
        }
    }
    return -1;
}

static spry_status add_input(text_feed *f, const spry_port *port, spry_error *error)
{
    int role = find_role(port->name);

    if (role < 0 || f->input_count == TEXT_ROLES) {
        return spry_fail(error, SPRY_USAGE, port->name,
                         "only input_ids, attention_mask, token_type_ids and position_ids can be "
                         "filled",
                         "the model takes an input that is not made from text");
    }
    if (port->dtype != SPRY_DTYPE_I64 && port->dtype != SPRY_DTYPE_I32 &&
        port->dtype != SPRY_DTYPE_F32) {
        return spry_fail(error, SPRY_UNSUPPORTED, port->name, NULL,
                         "the input is neither i64, i32 nor f32");
    }
    if (port->rank != 2 || port->shape[0] > 1 || port->shape[0] == 0) {
        return spry_fail(error, SPRY_USAGE, port->name, "export the model with a free batch axis",
                         "the input is not of shape [N,T] with N free or 1");
    }
    if (port->shape[1] >= 0) {
        f->length = port->shape[1];
    }
    f->names[f->input_count] = port->name;
    f->dtypes[f->input_count] = port->dtype;
    f->roles[f->input_count++] = (text_role)role;
    f->has_mask = f->has_mask || role == TEXT_MASK;
    return SPRY_OK;
}

spry_status text_feed_open(text_feed *f, const spry_model *model, spry_session *session,
                           const spry_allocator *allocator, spry_error *error)
{
    spry_status status = SPRY_OK;
    bool has_ids = false;

    *f = (text_feed){.allocator = alloc_resolve(allocator), .model = model, .session = session};
    f->output_count = spry_model_output_count(model);
    for (int32_t i = 0; status == SPRY_OK && i < spry_model_input_count(model); i++) {
        spry_port port;

        status = spry_model_input(model, i, &port, error);
        status = status == SPRY_OK ? add_input(f, &port, error) : status;
        has_ids = has_ids || (status == SPRY_OK && f->roles[i] == TEXT_IDS);
    }
    if (status == SPRY_OK && !has_ids) {
        status = spry_fail(error, SPRY_USAGE, "model", NULL, "it takes no input_ids");
    }
    if (status == SPRY_OK && (f->output_count < 1 || f->output_count > TEXT_MOST_OUTPUTS)) {
        status =
            spry_fail(error, SPRY_USAGE, "model", NULL, "it has %d outputs", (int)f->output_count);
    }
    return status;
}

static void drop_outputs(text_feed *f)
{
    for (int32_t i = 0; i < f->output_count; i++) {
        spry_value_destroy(f->outputs[i]);
        f->outputs[i] = NULL;
    }
}

void text_feed_close(text_feed *f)
{
    drop_outputs(f);
}

static void store(spry_dtype dtype, void *to, int64_t i, int64_t number)
{
    if (dtype == SPRY_DTYPE_I64) {
        ((int64_t *)to)[i] = number;
    } else if (dtype == SPRY_DTYPE_I32) {
        ((int32_t *)to)[i] = (int32_t)number;
    } else {
        ((float *)to)[i] = (float)number;
    }
}

static spry_status make_input(const text_feed *f, int32_t input, int64_t count, const int64_t *row,
                              spry_value **made, spry_error *error)
{
    const int64_t shape[] = {1, count};
    spry_tensor *t = NULL;
    spry_status status = spry_tensor_create(&f->allocator, f->dtypes[input], 2, shape, &t, error);

    if (status != SPRY_OK) {
        return status;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t otherwise = f->roles[input] == TEXT_POSITIONS ? i : f->roles[input] == TEXT_MASK;

        store(f->dtypes[input], spry_tensor_data(t), i, row != NULL ? row[i] : otherwise);
    }
    return spry_value_from_tensor(&f->allocator, t, made, error);
}

spry_status text_feed_run(text_feed *f, int64_t count, const int64_t *ids, const int64_t *mask,
                          const int64_t *segments, spry_error *error)
{
    const int64_t *const rows[TEXT_ROLES] = {ids, mask, segments, NULL};
    spry_value *values[TEXT_ROLES] = {NULL};
    const spry_value *inputs[TEXT_ROLES];
    spry_status status = SPRY_OK;

    drop_outputs(f);
    for (int32_t i = 0; status == SPRY_OK && i < f->input_count; i++) {
        status = make_input(f, i, count, rows[f->roles[i]], &values[i], error);
        inputs[i] = values[i];
    }
    if (status == SPRY_OK) {
        int64_t start = clock_ns();

        status = spry_session_run(f->session, f->input_count, f->names, inputs, f->output_count,
                                  f->outputs, error);
        f->run_seconds += (double)(clock_ns() - start) * 1e-9;
    }
    for (int32_t i = 0; i < f->input_count; i++) {
        spry_value_destroy(values[i]);
    }
    return status;
}

int32_t text_feed_output(const text_feed *f, const char *name)
{
    for (int32_t i = 0; i < f->output_count; i++) {
        spry_port port;

        if (spry_model_output(f->model, i, &port, NULL) == SPRY_OK && is_called(port.name, name)) {
            return i;
        }
    }
    return -1;
}
