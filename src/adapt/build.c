/* Nodes and parameters, named after what they are added to. */
#include "adapt/build.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"
#include "spry/random.h"

build build_beside(rewrite *job, int32_t id, spry_error *error)
{
    int32_t index;
    const graph_node *n = rewrite_node(job, id, &index);
    const char *name = n != NULL && n->name[0] != '\0' ? n->name : job->g->values[id].name;

    return (build){job, name, SPRY_OK, error};
}

int32_t build_node(build *b, const char *type, const char *suffix, int32_t count,
                   const int32_t *inputs)
{
    insert_node_of what = {.type = type,
                           .opset = b->job->opset,
                           .base = b->base,
                           .suffix = suffix,
                           .input_count = count};
    int32_t node;
    int32_t result = GRAPH_NONE;

    for (int32_t i = 0; i < count; i++) {
        what.inputs[i] = inputs[i];
    }
    if (b->status == SPRY_OK) {
        b->status = insert_node(b->job->g, &what, &node, &result, b->error);
    }
    return b->status == SPRY_OK ? result : GRAPH_NONE;
}

void build_set_int(build *b, int32_t id, const char *name, int64_t number)
{
    if (b->status == SPRY_OK) {
        b->status =
            graph_set_int(b->job->g, b->job->g->values[id].producer, name, number, b->error);
    }
}

/* ---- constants ---- */

static int32_t add_constant(build *b, const char *suffix, spry_dtype dtype, int rank,
                            const int64_t *shape, const void *data)
{
    int32_t value = GRAPH_NONE;

    if (b->status == SPRY_OK) {
        b->status =
            insert_constant(b->job->g, b->base, suffix, dtype, rank, shape, data, &value, b->error);
    }
    return b->status == SPRY_OK ? value : GRAPH_NONE;
}

/* Room for the elements of that shape, zeroed; NULL once something has failed. */
static float *make_floats(build *b, int rank, const int64_t *shape, size_t *count)
{
    float *data = NULL;

    *count = 1;
    for (int i = 0; i < rank; i++) {
        *count *= (size_t)shape[i];
    }
    if (b->status == SPRY_OK) {
        data = arena_array(&b->job->memory, *count, sizeof *data);
        b->status = data != NULL ? SPRY_OK : alloc_failed(b->error, *count * sizeof *data);
    }
    return data;
}

int32_t build_number(build *b, const char *suffix, double number)
{
    const float narrow = (float)number;

    return add_constant(b, suffix, SPRY_DTYPE_F32, 0, NULL, &narrow);
}

int32_t build_ints(build *b, const char *suffix, int64_t count, const int64_t *numbers)
{
    return add_constant(b, suffix, SPRY_DTYPE_I64, 1, &count, numbers);
}

/* ---- formulas ---- */

int32_t build_slice(build *b, const char *suffix, int32_t x, int64_t axis, int64_t from, int64_t to)
{
    enum { INPUTS_SINCE = 10 };
    char name[64];
    int32_t inputs[4] = {x};
    int32_t made;

    if (b->job->opset >= INPUTS_SINCE) {
        static const char *const ends[] = {"from", "to", "axis"};
        const int64_t numbers[] = {from, to, axis};

        for (size_t i = 0; i < 3; i++) {
            (void)snprintf(name, sizeof name, "%s_%s", suffix, ends[i]);
            inputs[i + 1] = build_ints(b, name, 1, &numbers[i]);
        }
        return build_node(b, "Slice", suffix, 4, inputs);
    }
    made = build_node(b, "Slice", suffix, 1, inputs);
    if (made != GRAPH_NONE) {
        int32_t node = b->job->g->values[made].producer;
        const char *const names[] = {"starts", "ends", "axes"};
        const int64_t numbers[] = {from, to, axis};

        for (size_t i = 0; i < 3 && b->status == SPRY_OK; i++) {
            b->status = graph_set_ints(b->job->g, node, names[i], 1, &numbers[i], b->error);
        }
    }
    return made;
}

int32_t build_pad(build *b, const char *suffix, int32_t x, int rank, const int64_t *pads)
{
    enum { INPUTS_SINCE = 11 };
    char name[64];
    int32_t inputs[2] = {x};
    int32_t made;

    if (b->job->opset >= INPUTS_SINCE) {
        (void)snprintf(name, sizeof name, "%s_pads", suffix);
        inputs[1] = build_ints(b, name, 2 * (int64_t)rank, pads);
        return build_node(b, "Pad", suffix, 2, inputs);
    }
    made = build_node(b, "Pad", suffix, 1, inputs);
    if (made != GRAPH_NONE) {
        b->status = graph_set_ints(b->job->g, b->job->g->values[made].producer, "pads",
                                   2 * (int64_t)rank, pads, b->error);
    }
    return made;
}

int32_t build_gelu(build *b, const char *suffix, int32_t x)
{
    enum { GELU_SINCE = 20 };
    const double root_of_two = 1.41421356237309504880;
    int32_t scaled, erf, sum, product;

    if (b->job->opset >= GELU_SINCE) {
        return build_node(b, "Gelu", suffix, 1, (const int32_t[]){x});
    }
    scaled = build_node(b, "Div", "gelu_div", 2,
                        (const int32_t[]){x, build_number(b, "gelu_root", root_of_two)});
    erf = build_node(b, "Erf", "gelu_erf", 1, (const int32_t[]){scaled});
    sum = build_node(b, "Add", "gelu_add", 2,
                     (const int32_t[]){erf, build_number(b, "gelu_one", 1.0)});
    product = build_node(b, "Mul", "gelu_mul", 2, (const int32_t[]){x, sum});
    return build_node(b, "Mul", suffix, 2,
                      (const int32_t[]){product, build_number(b, "gelu_half", 0.5)});
}

/* ---- parameters ---- */

int32_t build_parameter(build *b, const char *suffix, int rank, const int64_t *shape,
                        const float *data)
{
    int32_t value = add_constant(b, suffix, SPRY_DTYPE_F32, rank, shape, data);

    if (b->status == SPRY_OK) {
        b->status = rewrite_train(b->job, value, b->error);
    }
    return value;
}

int32_t build_uniform(build *b, const char *suffix, int rank, const int64_t *shape, double bound)
{
    spry_random random = spry_random_stream(b->job->options.seed, b->job->drawn++);
    size_t count;
    float *data = make_floats(b, rank, shape, &count);

    if (data != NULL) {
        spry_random_fill_uniform(&random, data, count, (float)-bound, (float)bound);
    }
    return build_parameter(b, suffix, rank, shape, data);
}

int32_t build_normal(build *b, const char *suffix, int rank, const int64_t *shape, double deviation)
{
    spry_random random = spry_random_stream(b->job->options.seed, b->job->drawn++);
    size_t count;
    float *data = make_floats(b, rank, shape, &count);

    if (data != NULL) {
        spry_random_fill_normal(&random, data, count, 0.0f, (float)deviation);
    }
    return build_parameter(b, suffix, rank, shape, data);
}

int32_t build_trained_zeros(build *b, const char *suffix, int rank, const int64_t *shape)
{
    size_t count;
    const float *data = make_floats(b, rank, shape, &count);

    return build_parameter(b, suffix, rank, shape, data);
}

void build_redirect(build *b, int32_t from, int32_t to, int32_t first_new)
{
    graph *g = b->job->g;
    int32_t last = g->node_count; /* replacing may add an Identity of its own */

    if (b->status == SPRY_OK) {
        b->status = graph_replace_value(g, from, to, b->error);
    }
    for (int32_t i = first_new; b->status == SPRY_OK && i < last; i++) {
        for (int32_t k = 0; k < g->nodes[i].input_count; k++) {
            if (g->nodes[i].inputs[k] == to) {
                g->nodes[i].inputs[k] = from;
            }
        }
    }
}
