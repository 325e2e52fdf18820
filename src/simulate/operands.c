#include "simulate/operands.h"

#include <string.h>

#include "base/alloc.h"
#include "model/model.h"
#include "tensor/convert.h"
#include "tensor/value.h"

enum { NAMES = 4 };

/* ---- the model, with all operands among its outputs ---- */

static bool is_listed(const graph *g, const int32_t *outputs, int32_t count, int32_t id)
{
    for (int32_t i = 0; i < count; i++) {
        if (outputs[i] == id) {
            return true;
        }
    }
    return g->values[id].is_input;
}

static const char *name_of(const simulate_layer *l, int which)
{
    return which == 0 ? l->left : which == 1 ? l->right : which == 2 ? l->result : l->bias;
}

static spry_status expose(model *made, const simulate_layers *l, spry_error *error)
{
    graph *g = made->main;
    size_t most = (size_t)g->output_count + NAMES * (size_t)l->count;
    int32_t *outputs = arena_array(&made->memory, most, sizeof *outputs);
    int32_t count = g->output_count;

    if (outputs == NULL) {
        return alloc_failed(error, most * sizeof *outputs);
    }
    memcpy(outputs, g->outputs, (size_t)count * sizeof *outputs);
    for (int32_t i = 0; i < NAMES * l->count; i++) {
        const simulate_layer *it = &l->items[i / NAMES];
        const char *name = name_of(it, i % NAMES);
        int32_t id = name != NULL ? graph_find_value(g, name) : GRAPH_NONE;

        if (name == NULL) {
            continue;
        }
        if (id == GRAPH_NONE) {
            return spry_fail(error, SPRY_UNSUPPORTED, it->name, NULL,
                             "its operand '%.60s' lies inside a function", name);
        }
        if (!is_listed(g, outputs, count, id)) {
            g->values[id].is_output = true;
            outputs[count++] = id;
        }
    }
    g->outputs = outputs;
    g->output_count = count;
    return SPRY_OK;
}

/* ---- what a run gives ---- */

static const spry_value *value_of(const simulate_operands *o, const spry_feed *feed,
                                  const char *name)
{
    const graph *g = o->exposed->main;

    for (int32_t i = 0; i < g->output_count; i++) {
        if (strcmp(g->values[g->outputs[i]].name, name) == 0) {
            return o->outputs[i];
        }
    }
    for (int32_t i = 0; i < spry_feed_count(feed); i++) {
        if (strcmp(spry_feed_name(feed, i), name) == 0) {
            return spry_feed_value(feed, i);
        }
    }
    return NULL;
}

static spry_status read_operand(simulate_operands *o, const simulate_layer *l, const char *name,
                                const spry_feed *feed, const float **to, int64_t *count,
                                spry_error *error)
{
    const spry_value *v = value_of(o, feed, name);
    const spry_tensor *t = v != NULL ? spry_value_tensor(v) : NULL;
    float *copy;

    if (t == NULL || (t->dtype != SPRY_DTYPE_F32 && t->dtype != SPRY_DTYPE_F16 &&
                      t->dtype != SPRY_DTYPE_BF16 && t->dtype != SPRY_DTYPE_F64)) {
        return spry_fail(error, SPRY_UNSUPPORTED, l->name,
                         "simulate the model in f32, or one with DequantizeLinear in front",
                         "its operands are not of floats");
    }
    *count = spry_tensor_count(t);
    if (t->dtype == SPRY_DTYPE_F32) {
        *to = spry_tensor_const_data(t);
        return SPRY_OK;
    }
    copy = arena_array(&o->memory, (size_t)*count + 1, sizeof *copy);
    if (copy == NULL) {
        return alloc_failed(error, (size_t)*count * sizeof *copy);
    }
    convert_read_f32(t, 0, *count, copy);
    *to = copy;
    return SPRY_OK;
}

static int64_t left_count(const simulate_layer *l)
{
    return l->is_conv ? l->images * l->channels * l->in_height * l->in_width
                      : simulate_layer_pixels(l) * l->channels;
}

/* Sizes were settled without the feed: they must be the same in the run. */
static spry_status check_sizes(const simulate_layer *l, const simulate_operand *it,
                               spry_error *error)
{
    int64_t pixels = simulate_layer_pixels(l);
    int64_t left = left_count(l);
    int64_t right = l->filters * (l->channels / l->groups) * l->kernel_height * l->kernel_width;
    int64_t rows = l->is_conv ? l->images * l->out_height * l->out_width : pixels;

    if (it->left_count != left || it->right_count != right ||
        it->result_count != rows * l->filters) {
        return spry_fail(error, SPRY_UNSUPPORTED, l->name, NULL,
                         "in the run its operands have other sizes than foreseen");
    }
    return SPRY_OK;
}

static spry_status collect(simulate_operands *o, const simulate_layers *l, const spry_feed *feed,
                           spry_error *error)
{
    spry_status status = SPRY_OK;

    o->items = arena_array(&o->memory, (size_t)l->count + 1, sizeof *o->items);
    if (o->items == NULL) {
        return alloc_failed(error, (size_t)l->count * sizeof *o->items);
    }
    for (int32_t i = 0; i < l->count && status == SPRY_OK; i++) {
        const simulate_layer *it = &l->items[i];
        simulate_operand *to = &o->items[i];

        *to = (simulate_operand){0};
        status = read_operand(o, it, it->left, feed, &to->left, &to->left_count, error);
        if (status == SPRY_OK) {
            status = read_operand(o, it, it->right, feed, &to->right, &to->right_count, error);
        }
        if (status == SPRY_OK) {
            status = read_operand(o, it, it->result, feed, &to->result, &to->result_count, error);
        }
        if (status == SPRY_OK && it->bias != NULL) {
            status = read_operand(o, it, it->bias, feed, &to->bias, &to->bias_count, error);
        }
    }
    return status;
}

/* How many times as large the first operand is as foreseen tells the batch. */
static spry_status settle_batch(simulate_layers *l, const simulate_operands *o, spry_error *error)
{
    int64_t batch = o->items[0].left_count / left_count(&l->items[0]);
    spry_status status = SPRY_OK;

    if (batch > 1) {
        simulate_layers_batch(l, batch);
    }
    for (int32_t i = 0; i < l->count && status == SPRY_OK; i++) {
        status = check_sizes(&l->items[i], &o->items[i], error);
    }
    return status;
}

spry_status simulate_operands_run(simulate_operands *o, const spry_model *m, simulate_layers *l,
                                  spry_feed *feed, const spry_session_options *options,
                                  spry_error *error)
{
    spry_status status;

    *o = (simulate_operands){0};
    arena_init(&o->memory, &m->allocator, SIZE_MAX);
    status = model_copy(m, &o->exposed, error);
    if (status == SPRY_OK) {
        status = expose(o->exposed, l, error);
    }
    if (status == SPRY_OK) {
        o->output_count = o->exposed->main->output_count;
        o->outputs = arena_array(&o->memory, (size_t)o->output_count + 1, sizeof(spry_value *));
        if (o->outputs == NULL) {
            status = alloc_failed(error, (size_t)o->output_count * sizeof(spry_value *));
        }
    }
    if (status == SPRY_OK) {
        memset(o->outputs, 0, (size_t)o->output_count * sizeof(spry_value *));
        status = spry_session_create(o->exposed, options, &o->session, error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_run(feed, o->session, o->output_count, o->outputs, error);
    }
    if (status == SPRY_OK) {
        status = collect(o, l, feed, error);
    }
    return status == SPRY_OK ? settle_batch(l, o, error) : status;
}

void simulate_operands_fini(simulate_operands *o)
{
    for (int32_t i = 0; i < o->output_count && o->outputs != NULL; i++) {
        spry_value_destroy(o->outputs[i]);
    }
    spry_session_destroy(o->session);
    spry_model_destroy(o->exposed);
    arena_fini(&o->memory);
    *o = (simulate_operands){0};
}
